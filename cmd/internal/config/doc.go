// Package config reads the two configuration files: the agent's (qsyncd.yaml)
// and the operator's (config.yaml). The docs of the struct fields are the
// reference of the keys.
//
// A fault is reported with file, line, key and, where there is one, a way out.
package config
