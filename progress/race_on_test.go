//go:build race

package progress_test

// raceEnabled: the race detector allocates by itself.
const raceEnabled = true
