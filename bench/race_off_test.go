//go:build !race

package main

// raceEnabled tells whether the race detector is in the binary.
const raceEnabled = false
