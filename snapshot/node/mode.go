package node

// Mode is how a node that can be held in two ways is held.
type Mode string

const (
	// Freeze stops the node's threads where they are. It is what the zero value means.
	Freeze Mode = "freeze"
	// Stop ends the node cleanly, and starts it again. It is for nodes that keep
	// in memory what their database lacks.
	Stop Mode = "stop"
)
