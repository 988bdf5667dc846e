// Package agent does what a configuration of qsyncd describes. It is where
// snapshot and publish, which do not know each other, are joined.
package agent
