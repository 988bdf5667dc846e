// Package manifest is the qsync format: what a publisher writes and a fetcher
// reads.
//
// A snapshot is a tree of immutable objects named by their SHA-256 below one
// small mutable, signed pointer:
//
//	catalog → head → manifest → index → segments → chunks
//
// The [Catalog] lists a publisher's channels, a [Head] names the live
// snapshots of one channel, a [Manifest] says what a snapshot is, an [Index]
// lists its files with the digests of their chunks, and a segment is an object
// that holds up to 23 compressed chunks of one file. Only catalog, head and
// [Keys] are signed; everything else is named by a digest that stands in the
// object above it.
//
// The package does no I/O and reads no clock. Every Parse function accepts
// exactly the bytes that the matching Marshal writes: one value has one
// encoding. FORMAT.md beside this file is the specification.
package manifest
