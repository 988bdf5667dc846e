// Package snapshot makes a consistent snapshot of a database that a node is
// writing, and cuts it into segments.
//
// The order of [Run] is what keeps the node alive and the snapshot whole:
//
//	look       every path is checked before anything is read
//	begin      the fork takes what cannot change any more; the node goes on
//	quiesce    a record of it is durable first: whoever starts next can resume the node
//	cut        the files are listed once more and frozen
//	resume     always, at once, on a context that no cancellation reaches
//	seal       the frozen files are read, hashed, compressed and put
//	release    the fork is removed
//
// The node is held from quiesce to resume only. Files that are known to be
// those of the previous version take no part in fork and seal.
//
// How a node is stopped is in snapshot/node, how a view is frozen in
// snapshot/fork; where segments go is behind [Sink].
package snapshot
