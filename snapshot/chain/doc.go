// Package chain is what qsync knows of the chains that it was made for, and of
// how to ask a node for its state.
//
// The table has their identity, and where and how their nodes keep the
// database. For a chain that is not in it, the zero [Chain] does: its nodes are
// asked which protocol they speak.
//
// A node is asked before it is published from:
//
//	look     Client.Look: all that the node says about itself
//	watch    Watch.See: for how long its finalized block has stayed the same
//	check    Health.Check: every reason against it, in one error
//
// The error tells a node that may be fit later (ErrUnhealthy) from one that must
// never be published from (ErrWrongNode). Client.Block is what to ask around the
// cut: the block that the snapshot holds for certain is the one from before it.
//
// Who restores a snapshot asks nodes that are independent of its publisher: Confirm
// tells what each says to a claim about a block, and ErrContradicted from
// ErrUnconfirmed, which may pass.
//
// Nothing that a node says is trusted further than to keep a publication or a restore
// back: answers are bounded in time and size, numbers in range, texts printable.
package chain
