// Package node stops the program that writes a database, and lets it go on.
//
//	Signal   SIGSTOP and SIGCONT to the process that a file names
//	Command  two configured commands
//	None     nothing: the database must not be open
//
// A process that is stopped, and not asked to close its database, leaves the
// files as a power cut would, except that nothing is lost: the fork sees every
// write that had returned. The engines recover from that when they open it.
package node

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/qsync/qsync/manifest/database"
)

// Database is where a node keeps its files. The zero value is an unknown place.
type Database struct {
	Path string
	Kind *database.Kind
}

// locks are the files that a process holds locks on while it has the database open.
func (d Database) locks() ([]string, error) {
	if d.Path == "" || d.Kind == nil || d.Kind.Lock == "" {
		return nil, nil
	}
	root, err := filepath.EvalSymlinks(d.Path)
	if err != nil {
		return nil, err
	}
	var found []string
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // deleted by the node meanwhile
		}
		if err == nil && e.Type().IsRegular() && e.Name() == d.Kind.Lock {
			found = append(found, path)
		}
		return err
	})
	return found, err
}
