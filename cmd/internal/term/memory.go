package term

import (
	"os"
	"runtime/debug"
)

// softMemoryLimit makes the collector work harder above it. It is no bound: an
// index of a million chunks needs more and gets it.
const softMemoryLimit = 96 << 20 // bytes

// limitMemory keeps the program small beside a node that wants the memory for
// its cache. GOMEMLIMIT overrides it.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemoryLimit)
	}
}

// AllowMemory raises the soft limit, for what is in use all the time from now on.
func AllowMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(debug.SetMemoryLimit(-1) + bytes)
	}
}
