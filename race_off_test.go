//go:build !race

package checkpointstore_test

// raceEnabled: the race detector allocates by itself.
const raceEnabled = false
