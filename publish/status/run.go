package status

import "time"

// Outcome is what became of a run.
type Outcome string

// The outcomes.
const (
	Running     Outcome = "running"
	Published   Outcome = "published"
	Failed      Outcome = "failed"
	Postponed   Outcome = "postponed"   // the node was not fit to be published from
	Lost        Outcome = "lost"        // another agent published first
	Interrupted Outcome = "interrupted" // told to stop, or killed
)

// Trigger is what a run was made for.
type Trigger string

// The triggers.
const (
	Scheduled Trigger = "schedule"
	CatchUp   Trigger = "catch-up" // a slot of the schedule that was missed
	ByHand    Trigger = "hand"
)

// Run is one run on a channel. What is not known is zero.
type Run struct {
	ID      uint64    `json:"id"` // grows with every run of the agent
	Channel string    `json:"channel"`
	Trigger Trigger   `json:"trigger"`
	Slot    time.Time `json:"slot,omitzero"` // of the schedule; zero by hand
	Start   time.Time `json:"start"`
	End     time.Time `json:"end,omitzero"` // zero while it runs, and if it was killed
	Outcome Outcome   `json:"outcome"`
	Error   string    `json:"error,omitempty"` // also of a published run that something went wrong after

	Version       string  `json:"version,omitempty"`
	Sequence      int64   `json:"sequence,omitempty"`     // of the head
	Height        int64   `json:"height,omitempty"`       // of the last block that is in the snapshot for certain
	Hash          string  `json:"hash,omitempty"`         // of that block
	HeightAfter   int64   `json:"height_after,omitempty"` // of the node's final block right after the cut
	RawBytes      int64   `json:"raw_bytes,omitempty"`
	ReadBytes     int64   `json:"read_bytes,omitempty"` // from the fork
	UploadedBytes int64   `json:"uploaded_bytes,omitempty"`
	FilesBytes    int64   `json:"files_bytes,omitempty"`  // sent to targets of files
	ReusedBytes   int64   `json:"reused_bytes,omitempty"` // stored bytes that were on the targets already
	PauseSeconds  float64 `json:"pause_seconds,omitempty"`
	Fork          string  `json:"fork,omitempty"` // how the view was frozen, and why so
	Node          string  `json:"node,omitempty"` // what its node was, with its version
}

// Took is how long the run lasted, 0 if that is not known.
func (r Run) Took() time.Duration {
	if r.End.IsZero() {
		return 0
	}
	return r.End.Sub(r.Start)
}
