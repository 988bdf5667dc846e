package snapshot

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
)

// ErrNodeGone says that the node's process does not exist any more.
var ErrNodeGone = errors.New("the node is gone")

// ErrPause says that the node would have been held for longer than allowed.
var ErrPause = errors.New("the pause is over")

// Node is the program that writes the database.
type Node interface {
	// Quiesce returns when the node has stopped writing and will not write
	// before Resume. After an error the node may be in either state: Resume is
	// called in any case.
	Quiesce(ctx context.Context) error
	// Resume lets the node go on. It may be called without a Quiesce before,
	// by another process than the one that quiesced, and more than once. The
	// error wraps [ErrNodeGone] if there is no process left to resume.
	Resume(ctx context.Context) error
	String() string
}

// Forker freezes a view of a database directory.
type Forker interface {
	// Begin makes room for a fork of the database and removes what an earlier
	// run left. The node goes on meanwhile, so it is the place for all work that
	// makes the pause shorter. After an error nothing is left behind.
	Begin(ctx context.Context, db *Tree) (Fork, error)
	// Clean removes all that runs which were killed have left of forks of the
	// database directory dir, whichever Forker made them. The caller sees to it that
	// no run on this database is under way.
	Clean(ctx context.Context, dir string) error
	String() string
}

// Fork is a frozen view of some files of a database.
type Fork interface {
	// Cut freezes the files of db, which may be fewer or others than those that
	// Begin saw. The node is quiesced, and held for as long as Cut takes. It sets
	// the Held stamp of each entry. When Cut returns the view does not change any more.
	Cut(ctx context.Context, db *Tree) error
	// Open opens a file as it was at the cut. It may be longer than it was then:
	// what lies beyond the entry's size is not part of the view. Safe for
	// concurrent use.
	Open(path string) (*os.File, error)
	// Release removes the fork. Further calls do nothing.
	Release() error
	// String says how the view is frozen, and why so.
	String() string
}

// Copier is a fork that programs can be let loose on.
type Copier interface {
	// Copy makes a private directory that holds the files of db as they were at
	// the cut, and that may be written to: the fork does not change by it. release
	// removes it.
	Copy(ctx context.Context, db *Tree) (dir string, release func() error, err error)
}

// Guard lets the node go on when this process cannot do it any more.
type Guard interface {
	// Watch returns when somebody outside this process watches it. From then on
	// until stop is called, the node is resumed should this process end in
	// whatever way, and also when limit has passed; a limit of 0 is none. No two
	// runs on a node are watched at a time: Watch waits, or fails.
	//
	// stop is told whether the node is still held because it could not be resumed:
	// then that is tried on without this process. Else its error says that the node
	// may have been resumed before, or that nobody has watched.
	Watch(ctx context.Context, limit time.Duration) (stop func(held bool) error, err error)
}

// Sink takes the segments.
type Sink interface {
	// Put stores a segment under its digest. It is durable when Put returns. The
	// segment's memory is only valid during the call. Safe for concurrent use.
	Put(ctx context.Context, digest manifest.Digest, segment []byte) error
}

// Options say what to take a snapshot of, and how.
type Options struct {
	Database string         // the directory whose content is published
	Kind     *database.Kind // which of its files belong to the database
	Node     Node
	Forker   Forker
	Sink     Sink
	// Previous is the version before this one, or nil. All its segments must
	// still be stored where the Sink stores.
	Previous *Previous
	// StateFile is where the run records that it holds the node. Without one
	// and without a Guard nobody resumes the node after this process was killed in
	// the pause.
	StateFile string
	Guard     Guard // nil is none
	// MaxPause is the longest that the node is held: then it is resumed, and the
	// run fails with ErrPause. 0 is as long as it takes.
	MaxPause time.Duration
	// CheckPath refuses a file by its path, before the node is touched; nil takes all.
	CheckPath func(path string) error
	// Resumed is called when the node goes on, before anything is read; nil is nobody.
	Resumed func(ctx context.Context)
	// BootCheck judges a private copy of the database before it is sealed: an
	// error ends the run. The fork must be a Copier. nil is no check.
	BootCheck func(ctx context.Context, dir string) error
	// Sealed is called when all segments are put, and before the fork is removed: open
	// opens its files, which may be longer than they were at the cut. Those that are
	// known unchanged since the previous version need not be there. The result has no
	// Stamps yet. An error ends the run. nil is nobody.
	Sealed    func(ctx context.Context, r *Result, open func(path string) (*os.File, error)) error
	Level     int            // of zstd, 1 to 19; 0 is 3
	MinSaving int            // per cent that a chunk must shrink by to be compressed; 0 is manifest.DefaultMinSaving
	Workers   int            // segments sealed at a time, each in some 24 MiB of memory; 0 is a number for this machine
	Log       *slog.Logger   // nil is none
	Progress  func(Progress) // called during seal, never twice at a time; nil is none
}

// Previous is what is known of the version before this one.
type Previous struct {
	Index  *manifest.Index
	Stamps map[string]Stamp // the stamps that the run of that version gave; may be nil
}

// Progress is how far the seal of a snapshot is. All numbers are bytes of the
// database's files except StoredBytes.
type Progress struct {
	TotalBytes  int64 // of the snapshot
	DoneBytes   int64 // sealed or known unchanged
	ReadBytes   int64 // read from the fork
	ReusedBytes int64 // named again from the previous version
	StoredBytes int64 // of the segments that were put
}

// Result is a sealed snapshot.
type Result struct {
	Index        *manifest.Index
	Stamps       map[string]Stamp  // for the next run
	VersionFiles map[string]string // path of a version file of the database → its content
	Cut          time.Time         // the moment that the snapshot shows
	Pause        time.Duration     // how long the node was held
	Fork         string            // how the view was frozen, and why so
	Foreign      int               // files that do not belong to the database and were left out

	RawBytes    int64 // of all files
	ReadBytes   int64 // read from the fork; less where files were unchanged or had holes
	ReusedBytes int64 // raw bytes of the segments that were not put because they are stored already
	StoredBytes int64 // of the segments that were put
}

// RefusedError says that the database directory holds something that must not
// or cannot be published. Nothing was read and nothing put.
type RefusedError struct {
	Path string
	Why  string
	Hint string // what to do
}

func (e *RefusedError) Error() string { return "publish " + e.Path + ": " + e.Why }
