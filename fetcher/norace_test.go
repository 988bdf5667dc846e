//go:build !race

package fetcher_test

// raceEnabled says that the race detector takes its share of time and memory.
const raceEnabled = false
