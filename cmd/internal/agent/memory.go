package agent

import (
	"math"
	"os"
	"runtime/debug"
	"sync"
)

// workerMemory is what a worker of a snapshot keeps in use: a segment and some chunks.
const workerMemory = 20 << 20 // bytes

var memoryLimit sync.Mutex // of this process

// allowMemory raises the limit above which the collector works harder, until it is
// restored: for what is in use all the time it would work in vain. GOMEMLIMIT stays
// what the user has set it to.
func allowMemory(bytes int64) (restore func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	change := func(by int64) {
		memoryLimit.Lock()
		defer memoryLimit.Unlock()
		if now := debug.SetMemoryLimit(-1); now < math.MaxInt64 {
			debug.SetMemoryLimit(now + by)
		}
	}
	change(bytes)
	return sync.OnceFunc(func() { change(-bytes) })
}
