package chain

import "time"

// Watch notices a finalized block that stays the same. The zero Watch has seen
// none. Its fields are there to be kept between two runs of the program.
type Watch struct {
	Number int64     `json:"number"` // of the block
	Since  time.Time `json:"since"`  // when it was first seen
}

// See takes in the finalized block of a moment and says for how long it has
// stayed the same. A lower one is another one too: a database was replaced.
func (w *Watch) See(number int64, at time.Time) time.Duration {
	// A clock that was set back would have it stand still for longer than it did.
	if w.Since.IsZero() || number != w.Number || at.Before(w.Since) {
		*w = Watch{Number: number, Since: at}
	}
	return at.Sub(w.Since)
}
