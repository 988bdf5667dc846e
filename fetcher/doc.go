// Package fetcher restores a snapshot into a directory, trusting nothing but
// the publisher's keys.
//
// A restore asks every source for the channel's head, believes the newest one
// that is signed, and follows the digests down: head, manifest, index, chunks.
// What the disk already holds is found by hash; the rest is fetched in spans of
// segments or of raw files, as each source has them, from all sources at once. A
// chunk is written only after its hash is known to be right.
//
// The work may be killed at any moment and started again. Beside the target
// lies a work directory:
//
//	<target>.qsync-partial/
//	    lock           held while a fetch runs
//	    manifest.json  what is being restored
//	    index          its index object
//	    listing.json   in place of both, of what nobody has signed
//	    journal        which chunks are on disk
//	    tree/          the directory that takes the target's place at the end
//	    swap           written before the exchange, so that the next start can tell
//
// A tree that nobody has signed ([UnsignedTree]) has no digests: nothing of it can
// be recognised on a disk or told from something else. Of an interrupted restore of
// one only what the journal calls durable counts, and only while size, ETag and time
// of the file at its source are what they were.
//
// The target stays whole and usable until tree/ is complete and durable and is
// exchanged with it in one rename. With [Options.InPlace] there is no tree/:
// the target's own files are repaired, behind a marker that keeps a node from
// opening them half-way.
package fetcher
