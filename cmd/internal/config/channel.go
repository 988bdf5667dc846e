package config

import (
	"cmp"

	"go.yaml.in/yaml/v3"

	"github.com/qsync/qsync/manifest"
)

// Channel is one stream of snapshots.
type Channel struct {
	// Name is <chain>-<database>-<pruning>, like polkadot-rocksdb-archive.
	Name string `yaml:"name"`

	// Chain is the name of the chain, like polkadot or asset-hub-kusama.
	Chain string `yaml:"chain"`

	// Genesis is the hash of block 0: 0x and 64 hex digits. For chains that
	// qsync knows it is known; a different one is an error.
	Genesis string `yaml:"genesis"`

	// Database is what is published.
	Database Database `yaml:"database"`

	// Node says how the program that writes the database is held still for the cut.
	// Channels that say the same of it share it, and hold it one after the other.
	Node Node `yaml:"node"`

	// Mode is freeze, which stops the node's threads, or stop, which ends it
	// cleanly and starts it again: max_pause must then cover both. It is for the nodes
	// that can do both: systemd and docker. Default: freeze; for chains whose nodes
	// lose blocks by it, stop.
	Mode string `yaml:"mode"`

	// MaxPause is the longest that the node is held. Then it goes on, and the
	// run has failed. Default: 30s.
	MaxPause Duration `yaml:"max_pause"`

	// RPC is the URL of the node's JSON-RPC, like http://127.0.0.1:9944. Without
	// it nothing is known of the node's health, nor which block a snapshot has.
	RPC string `yaml:"rpc"`

	// Preflight says what a node must be like to be published from.
	Preflight Preflight `yaml:"preflight"`

	// Fork is how the view of the database is frozen: auto, reflink, btrfs, lvm,
	// hardlink, copy, or a command. Default: auto, the best that is safe for the
	// database.
	Fork Fork `yaml:"fork"`

	// BootCheck is a command that is run on a private copy of each snapshot
	// before it is published; one that fails is not. In its words {dir} stands
	// for the copy, {height} and {hash} for the block that it must at least have. The
	// first word is the program; no shell reads it.
	BootCheck []string `yaml:"boot_check"`

	// Schedule says when to publish: minute, hour, day, month and weekday as
	// cron has them, or "@every 6h" in whole seconds. Without one the channel is published by hand.
	Schedule string `yaml:"schedule"`

	// Jitter delays each scheduled run by up to so much, so that agents do not
	// all come at the same time. Default: none.
	Jitter Duration `yaml:"jitter"`

	// Keep says which versions stay. Default: all.
	Keep Keep `yaml:"keep"`

	// Compression says how chunks are compressed.
	Compression Compression `yaml:"compression"`
}

// Database is a database on disk.
type Database struct {
	// Kind is rocksdb, paritydb, pebble, leveldb, or files for any directory.
	Kind string `yaml:"kind"`

	// Path is the directory whose content is published. For Polkadot it is
	// the directory that holds full/.
	Path string `yaml:"path"`

	// StatePruning and BlocksPruning are the values of --state-pruning and
	// --blocks-pruning that the node runs with, and that a node on the
	// restored database must be started with. Default: not said.
	StatePruning  string `yaml:"state_pruning"`
	BlocksPruning string `yaml:"blocks_pruning"`
}

// Preflight says what the node must be like. It needs the channel's rpc.
type Preflight struct {
	// MaxLag is by how many blocks the node may be behind the best it has heard
	// of. Default: 20.
	MaxLag int64 `yaml:"max_lag"`

	// MinHeight is the lowest finalized block that is worth a snapshot. Default: none.
	MinHeight int64 `yaml:"min_height"`

	// Stuck is how long the finalized block may stay the same. Default: 15m.
	Stuck Duration `yaml:"stuck"`

	// AllowValidator lets qsync pause a node that signs blocks. A validator that
	// stands still, or runs twice, is punished by its chain: publish from another node.
	AllowValidator bool `yaml:"allow_validator"`
}

// Fork is how the view of the database is frozen: one word, or a command.
type Fork struct {
	// Name is the word.
	Name string `yaml:"-"`

	// Command is a way of your own, such as ZFS, Ceph or EBS.
	Command *ForkCommand `yaml:"command"`
}

// UnmarshalYAML implements [yaml.Unmarshaler].
func (f *Fork) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return n.Decode(&f.Name)
	}
	type plain Fork
	return n.Decode((*plain)(f))
}

// ForkCommand makes a frozen view by two commands. The first word of each is the
// program; no shell reads it. {database} stands for the database's directory.
type ForkCommand struct {
	// Create freezes the view while the node is held, and prints the directory in
	// which the database's files then lie, as the only line of its output.
	Create []string `yaml:"create"`

	// Release removes the view. {fork} stands for the directory that create has
	// printed, and for nothing if it was killed before: running it twice, or
	// for no view, must do no harm.
	Release []string `yaml:"release"`

	// Timeout is how long each may take. Default: 1m.
	Timeout Duration `yaml:"timeout"`
}

// Node says how a node is held still. Exactly one of its keys is given.
type Node struct {
	// Systemd is a unit of the system's service manager.
	Systemd *SystemdNode `yaml:"systemd"`

	// Docker is a container.
	Docker *DockerNode `yaml:"docker"`

	// Freezer freezes the control group of a unit or of a process.
	Freezer *FreezerNode `yaml:"freezer"`

	// Signal stops the process with SIGSTOP and lets it go on with SIGCONT.
	Signal *SignalNode `yaml:"signal"`

	// Command runs a command for each of the two.
	Command *CommandNode `yaml:"command"`

	// None does nothing ({}): no program writes the database.
	None *struct{} `yaml:"none"`
}

// SystemdNode is a unit.
type SystemdNode struct {
	// Unit is its name, like polkadot.service.
	Unit string `yaml:"unit"`
}

// DockerNode is a container.
type DockerNode struct {
	// Container is its name or id.
	Container string `yaml:"container"`

	// Socket is that of the engine. Default: /var/run/docker.sock.
	Socket string `yaml:"socket"`
}

// FreezerNode is a control group (version 2) that holds the node and nothing
// else. Exactly one of its keys is given.
type FreezerNode struct {
	// Unit is a systemd unit whose control group it is.
	Unit string `yaml:"unit"`

	// PIDFile holds the number of a process whose control group it is.
	PIDFile string `yaml:"pid_file"`
}

// SignalNode is a process that is stopped by signal.
type SignalNode struct {
	// PIDFile is the file that holds the process id.
	PIDFile string `yaml:"pid_file"`
}

// CommandNode is a node with commands of its own. The first word of a command
// is the program; no shell reads it.
type CommandNode struct {
	// Pause returns when nothing is written any more.
	Pause []string `yaml:"pause"`

	// Resume lets the node go on. It is run after a failed pause too.
	Resume []string `yaml:"resume"`

	// Timeout is how long each may take. Default: 1m.
	Timeout Duration `yaml:"timeout"`
}

// Keep is what stays of a channel. A version is dropped when either says so;
// the newest one always stays.
type Keep struct {
	// Versions is how many versions stay. Default: any number.
	Versions int `yaml:"versions"`

	// Days is how many days a version stays. Default: for ever.
	Days int `yaml:"days"`
}

// Compression is how chunks are compressed.
type Compression struct {
	// Level is the level of zstd, from 1 to 19. Default: 3.
	Level int `yaml:"level"`
	// MinSaving is by how many per cent a chunk must shrink to be compressed; one
	// that does not is stored as it is. Databases that compress by themselves
	// still shrink by some per cent, at several times the time to publish: lower
	// it, to 3 for example, where downloads cost more than time. Default: 10.
	MinSaving int `yaml:"min_saving"`
}

func (c *Channel) setDefaults(absolute func(*string)) {
	absolute(&c.Database.Path)
	if c.Node.Signal != nil {
		absolute(&c.Node.Signal.PIDFile)
	}
	if c.Node.Freezer != nil {
		absolute(&c.Node.Freezer.PIDFile)
	}
	if c.Fork.Command == nil {
		c.Fork.Name = cmp.Or(c.Fork.Name, DefaultFork)
	}
	c.MaxPause = cmp.Or(c.MaxPause, Duration(DefaultMaxPause))
	c.Preflight.MaxLag = cmp.Or(c.Preflight.MaxLag, DefaultMaxLag)
	c.Preflight.Stuck = cmp.Or(c.Preflight.Stuck, Duration(DefaultStuck))
	c.Compression.Level = cmp.Or(c.Compression.Level, DefaultLevel)
	c.Compression.MinSaving = cmp.Or(c.Compression.MinSaving, manifest.DefaultMinSaving)
}
