package fetcher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// Plan is what a restore is about to do.
type Plan struct {
	Channel      string `json:"channel"`
	Version      string `json:"version"`
	Unsigned     bool   `json:"unsigned,omitempty"` // nobody vouches for it
	Target       string `json:"target"`
	InPlace      bool   `json:"in_place"`
	Files        int    `json:"files"`
	LastBlock    int64  `json:"last_block,omitempty"` // of an unsigned snapshot, as its source says
	RawBytes     int64  `json:"raw_bytes"`            // of the whole snapshot
	HeldBytes    int64  `json:"held_bytes"`           // raw bytes that need not be fetched
	FetchBytes   int64  `json:"fetch_bytes"`          // bytes to fetch, at most: see Sources
	Requests     int    `json:"requests"`             // spans to ask for
	RoomBytes    int64  `json:"room_bytes"`           // disk that the rest needs
	FreeBytes    int64  `json:"free_bytes"`           // disk that is free on the target's mount
	ReplaceBytes int64  `json:"replaced_bytes"`       // of the directory that will be replaced

	Sources []PlannedSource `json:"sources"`
	LeftOut []string        `json:"left_out,omitempty"` // sources that the publisher asks not to use
}

// PlannedSource is a source, and what it will send if it serves all by itself.
type PlannedSource struct {
	Name       string `json:"name"`
	Layout     string `json:"layout"` // segments, files or chunks
	FetchBytes int64  `json:"fetch_bytes"`
	Last       bool   `json:"last,omitempty"` // it is asked only for what no other source has
}

func (r *restore) plan() (*Plan, error) {
	todo := r.missing(func(string) bool { return true })
	p := &Plan{
		Channel: r.channel, Version: r.version, Target: r.target, InPlace: r.opts.InPlace,
		Files: len(r.table.index.Files), RawBytes: r.rawSize, Requests: len(todo), Unsigned: r.listing != nil,
		LeftOut: r.leftOut,
	}
	if r.listing != nil {
		p.LastBlock = max(0, r.listing.LastBlock)
	}
	var missing int64
	for _, w := range todo {
		f := &r.table.index.Files[w.file]
		for i := w.next; i < w.end; i++ {
			if !r.held.has(r.table.first[w.file]+int64(i)) && !r.table.isHole(w.file, i) {
				missing += int64(f.ChunkLength(i))
			}
		}
	}
	p.HeldBytes = p.RawBytes - missing
	p.RoomBytes = missing
	if r.opts.InPlace {
		p.RoomBytes = max(0, missing-r.overwritten())
	}
	volumes := r.volumes(todo)
	for i, s := range r.sources {
		l := r.layouts[i]
		p.Sources = append(p.Sources, PlannedSource{s.String(), l.String(), volumes[l], r.last[s]})
	}
	p.FetchBytes = volumes[largest(volumes)]
	var err error
	p.FreeBytes, err = freeSpace(filepath.Dir(r.target))
	return p, err
}

// overwritten is how many bytes of the target's files a restore in place writes over.
func (r *restore) overwritten() (n int64) {
	for file := range r.table.index.Files {
		f := &r.table.index.Files[file]
		info, err := os.Lstat(filepath.Join(r.target, filepath.FromSlash(f.Path)))
		if err != nil {
			continue
		}
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	return n
}

// checkRoom refuses to start what the disk has no room for.
func (p *Plan) checkRoom() error {
	if p.RoomBytes <= p.FreeBytes {
		return nil
	}
	return fmt.Errorf("%w on the filesystem of %s: %s are needed, %s are free",
		ErrNoSpace, p.Target, humanize.IBytes(uint64(p.RoomBytes)), humanize.IBytes(uint64(p.FreeBytes)))
}

// freeSpace is what may still be written to the filesystem of dir, or of its
// nearest parent that exists.
func freeSpace(dir string) (int64, error) {
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("find free space on %s: %w", dir, err)
		}
		return int64(st.Bavail) * st.Bsize, nil
	}
}

func deviceOf(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Dev }
