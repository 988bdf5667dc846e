// Package config reads the two configuration files: the agent's (qsyncd.yaml)
// and the operator's (config.yaml). The docs of the struct fields are the
// reference of the keys; the file qsyncd.yaml here is an example that has all of the agent's.
//
// A fault is reported with file, line, key and, where there is one, a way out.
package config
