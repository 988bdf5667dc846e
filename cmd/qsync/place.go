package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/snapshot/chain"
)

// databaseDirectory is where a database of a chain belongs below a base
// path. An empty base path means the one that the chain's nodes use.
func databaseDirectory(chainID string, d manifest.Database, basePath string) (string, error) {
	below := directoryBelowBase(chainID, d)
	if below == "" {
		return "", term.Usagef("where a %s database of chain %s belongs is not known: give the directory with --to", d.Kind, chainID)
	}
	if basePath == "" {
		c, err := chain.Lookup(chainID)
		if err != nil {
			return "", term.Usagef("%w: give the directory with --to, or --base-path", err)
		}
		if basePath, err = defaultBasePath(c); err != nil {
			return "", err
		}
	}
	return filepath.Join(basePath, filepath.FromSlash(below)), nil
}

// directoryBelowBase is empty if it is not known. What the manifest says counts
// only for chains that this program does not know.
func directoryBelowBase(chainID string, d manifest.Database) string {
	c, err := chain.Lookup(chainID)
	if err != nil {
		return d.Directory
	}
	below, ok := c.Directory(d.Kind)
	if !ok {
		return ""
	}
	return below
}

// defaultBasePath is the one of the chain's usual base paths that a node of the
// chain has run in, or the first of them.
func defaultBasePath(c chain.Chain) (string, error) {
	var used, usual []string
	for _, p := range c.BasePaths {
		if rest, ok := strings.CutPrefix(p, "~/"); ok {
			home, err := os.UserHomeDir()
			if err != nil {
				continue
			}
			p = filepath.Join(home, rest)
		}
		usual = append(usual, p)
		if _, err := os.Stat(filepath.Join(p, "chains", c.SpecID)); err == nil {
			used = append(used, p)
		} else if errors.Is(err, os.ErrPermission) {
			return "", fmt.Errorf("look for the base path: %w", err)
		}
	}
	switch len(used) {
	case 0:
		return usual[0], nil
	case 1:
		return used[0], nil
	}
	return "", term.Usagef("there are several base paths with chain %s: choose one of %s with --base-path", c.ID, strings.Join(used, ", "))
}

// knownGenesis is the hash of a chain's block 0, or empty for chains that this
// program does not know.
func knownGenesis(id string) string {
	c, err := chain.Lookup(id)
	if err != nil {
		return ""
	}
	return c.Genesis
}
