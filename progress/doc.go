// Package progress tracks which events of a partition are done, and stores that in
// few checkpoints.
//
// A checkpoint says "everything up to here was handled". A consumer that handles
// events concurrently must not store the position of an event while an earlier one
// is still being handled, and a write for every event is slow and expensive.
// [Tracker] solves the first problem: it keeps the contiguous prefix of the events
// that are done, and bounds the events in flight. [Checkpointer] solves the second:
// it writes the latest position after a number of events or an interval. Each works
// without the other, for one partition from its claim to its loss or release:
//
//	checkpointer := progress.NewCheckpointer(progress.ToStore(store, partition), nil)
//	defer checkpointer.Close(ctx) // writes the last position
//	tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: checkpointer})
//	for … {
//		pending, err := tracker.Begin(ctx, position, len(event.Body)) // waits while too much is in flight
//		…
//		go func() {
//			handle(event)
//			pending.Done()
//		}()
//	}
//
// # Duplicates after a crash
//
// The next owner handles again what was begun after the last position written. While
// the storage answers, that is at most the events that were in flight or begun
// during the last write, and the CheckpointerOptions.Events events that were done,
// or those done within CheckpointerOptions.Interval if these are fewer. While writes
// fail, the number grows, unless CheckpointerOptions.MaxUnwritten bounds it: then it
// is never above MaxUnwritten + MaxEvents. A stop or a loss is not a crash: [Checkpointer.Close]
// and [Checkpointer.CloseLost] try to write the last position.
//
// # An event that is never done
//
// The prefix does not pass such an event. Later events begin until the window is
// full, then Begin waits. [Tracker.Oldest] returns the event and its age. Either
// store it elsewhere and call [Pending.Skip], or close the Tracker and the
// Checkpointer and release the partition: the next owner starts with the event.
package progress
