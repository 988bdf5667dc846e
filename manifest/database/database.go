// Package database is what qsync knows of database directories: which files
// belong to a database, how the engine treats each, and what keeps it from
// opening. It is tables only; new engines are a new entry.
package database

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Class says how an engine treats a file, and so how it may be frozen.
type Class int

// The classes of files.
const (
	Foreign   Class = iota // not part of the database: locks, logs of the program, anything unknown
	Immutable              // written once; content never changes under the name
	Appended               // only grows; what is written stays
	Replaced               // changes by rename of a new file over it
	Mutable                // changes in place
)

// Kind is a database engine.
type Kind struct {
	Name string
	// Lock is the file that a process holds a lock on while it has the database open; empty if there is none.
	Lock string
	// Frozen says that a hardlink together with the length at the cut is a
	// frozen copy of every file but the mutable ones.
	Frozen bool
	// AppendOnlyIf are the settings that the newest options file beside them must
	// have for the appended files to be so. Where it says otherwise, or there is
	// none, they are mutable.
	AppendOnlyIf map[string]string

	patterns []pattern
	entries  []string // without a file that matches one of these no database opens
	all      bool     // every file belongs to it
}

type pattern struct {
	glob  string
	class Class
}

const versionFile = "*db_version"

var kinds = []*Kind{
	{
		Name: "rocksdb", Lock: "LOCK", Frozen: true,
		AppendOnlyIf: map[string]string{"recycle_log_file_num": "0", "allow_mmap_writes": "false"},
		patterns: []pattern{
			{"*.dbtmp", Foreign}, // not yet renamed to what it will be
			{"*.sst", Immutable}, {"*.blob", Immutable},
			{"[0-9]*.log", Appended}, {"MANIFEST-*", Appended},
			{"CURRENT", Replaced}, {"OPTIONS-*", Replaced}, {"IDENTITY", Replaced}, {versionFile, Replaced},
		},
		entries: []string{"CURRENT"},
	},
	{
		Name: "paritydb", Lock: "lock",
		patterns: []pattern{
			{"index_*", Mutable}, {"table_*", Mutable}, {"refcount_*", Mutable}, {"log[0-9]*", Mutable},
			{"metadata", Replaced}, {versionFile, Replaced},
		},
		entries: []string{"metadata"},
	},
	{
		// Pebble writes its logs over recycled files. The freezer files of geth
		// (ancient/) are cut back in place when a chain is rewound.
		Name: "pebble", Lock: "LOCK", Frozen: true,
		patterns: []pattern{
			{"*.dbtmp", Foreign}, // not yet renamed to what it will be
			{"*.sst", Immutable}, {"*.blob", Immutable},
			{"[0-9]*.log", Mutable}, {"MANIFEST-*", Appended},
			{"CURRENT", Replaced}, {"OPTIONS-*", Replaced}, {"marker.*", Replaced},
			{"*.cdat", Mutable}, {"*.cidx", Mutable}, {"*.rdat", Mutable}, {"*.ridx", Mutable}, {"*.meta", Mutable},
		},
		entries: []string{"CURRENT", "marker.manifest.*"},
	},
	{
		Name: "leveldb", Lock: "LOCK", Frozen: true,
		patterns: []pattern{
			{"*.dbtmp", Foreign}, // not yet renamed to what it will be
			{"*.ldb", Immutable}, {"*.sst", Immutable},
			{"[0-9]*.log", Appended}, {"MANIFEST-*", Appended}, {"CURRENT", Replaced},
		},
		entries: []string{"CURRENT"},
	},
	{Name: "files", all: true},
}

// Lookup returns the kind of that name.
func Lookup(name string) (*Kind, error) {
	i := slices.IndexFunc(kinds, func(k *Kind) bool { return k.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("database kind %q is not known: want one of %s", name, strings.Join(Names(), ", "))
	}
	return kinds[i], nil
}

// Detect returns the kind of database that files make: of those whose entry is
// among them, the one that knows most of them.
func Detect(paths []string) (*Kind, error) {
	var best *Kind
	most := 0
	for _, k := range kinds {
		known := 0
		for _, p := range paths {
			if k.Class(p) != Foreign {
				known++
			}
		}
		if k.HasEntries() && slices.ContainsFunc(paths, k.IsEntry) && known > most {
			best, most = k, known
		}
	}
	if best == nil {
		return nil, errors.New("the files are those of no database that is known")
	}
	return best, nil
}

// Names are the names of all kinds.
func Names() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Name
	}
	return names
}

// Class is how the engine treats the file at a slash-separated path.
func (k *Kind) Class(p string) Class {
	name := path.Base(p)
	for _, pat := range k.patterns {
		if ok, _ := path.Match(pat.glob, name); ok {
			return pat.class
		}
	}
	if k.all {
		return Mutable
	}
	return Foreign
}

// HasEntries reports whether there are files without which no program opens the
// database.
func (k *Kind) HasEntries() bool { return len(k.entries) > 0 }

// IsEntry reports whether the file at p is one without which no program opens
// the database. A restore writes it last.
func (k *Kind) IsEntry(p string) bool {
	return slices.ContainsFunc(k.entries, func(glob string) bool {
		ok, _ := path.Match(glob, path.Base(p))
		return ok
	})
}

// IsLock reports whether the file at p is one that some engine holds a lock on.
func IsLock(p string) bool {
	return slices.ContainsFunc(kinds, func(k *Kind) bool { return k.Lock != "" && k.Lock == path.Base(p) })
}

// SecretDirectory reports whether a directory of that name holds keys of a node.
func SecretDirectory(name string) bool {
	return slices.Contains(secretDirectories, strings.ToLower(name))
}

// IsVersion reports whether the file at p says in a few characters which layout
// of the database it is, so that a node can be told beforehand whether it can open it.
func (k *Kind) IsVersion(p string) bool {
	ok, _ := path.Match(versionFile, path.Base(p))
	return ok && k.Class(p) != Foreign
}

// secretDirectories hold keys of nodes.
var secretDirectories = []string{"keystore", "network"}

var secretNames = []string{
	"secret_*", "*.key", "*.pem", "nodekey*", "jwt*", "utc--*", "wallet.dat", "wallet*.sqlite",
	"priv_validator_*.json", "node_key.json", "*password*", "*mnemonic*", "id_rsa*", "id_ed25519*",
}

// Secret says why the file at a path might be a secret, or is empty. Nothing
// that might be one is ever read, published, overwritten or deleted.
func Secret(p string) string {
	p = strings.ToLower(p)
	dir, name := path.Split(p)
	for d := range strings.SplitSeq(dir, "/") {
		if slices.Contains(secretDirectories, d) {
			return "it lies in a directory named " + d
		}
	}
	for _, glob := range secretNames {
		if ok, _ := path.Match(glob, name); ok {
			return "its name is that of a key"
		}
	}
	// A Substrate keystore names its files by key type and public key: 72 hex digits.
	if len(name) == 72 && strings.Trim(name, "0123456789abcdef") == "" {
		return "its name is that of a keystore file"
	}
	return ""
}
