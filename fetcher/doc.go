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
//	    journal        which chunks are on disk
//	    tree/          the directory that takes the target's place at the end
//	    swap           written before the exchange, so that the next start can tell
//
// The target stays whole and usable until tree/ is complete and durable and is
// exchanged with it in one rename. With [Options.InPlace] there is no tree/:
// the target's own files are repaired, behind a marker that keeps a node from
// opening them half-way.
package fetcher
