// Package balance decides which partitions an owner renews, claims, gives up and
// steals, from a list of the ownership records. It sends no requests and reads no
// clock: [Sightings] tells how old records are, [View].Decide decides.
//
// # The decision
//
// The active owners are those of records that are neither relinquished nor
// expired, and the owner that decides. Records of partitions that the hub does
// not have do not count. The share of an owner is partitions/owners, rounded down
// or up; an owner that already has the larger share keeps it.
//
//   - Own records are renewed when they are older than a third of the expiration.
//   - Partitions that nobody owns, because they were never owned, are relinquished
//     or have expired, are claimed up to the share, all in one round.
//   - What an owner has above its share, it gives up all at once.
//   - An owner without a partition is unknown to the others. It takes one
//     partition, a free one or else one that is above its owner's share, and
//     decides again in the same round. The others then give up what is above
//     their new share.
//   - Apart from that, partitions are stolen only from owners that were watched
//     for 3 rounds and did not give up what they have above their share, as
//     azeventhubs' Processor never does.
//   - What an owner leaves free that was watched for 2 rounds, because it claims
//     one partition in a round, as azeventhubs' balanced strategy does, or none,
//     the others claim until it steals it from them.
//
// Owners that see the same list make the same plan: each claims a different run
// of the free partitions, so that few claims are lost. A lost claim is decided
// again, after a new list, in the same round.
//
// # What it promises
//
// A round is one interval in which every owner lists and decides up to [Passes]
// times.
//
//   - Among owners that use this package, the partitions are balanced at most 3
//     rounds after the last start or orderly stop, and 3 rounds after the records
//     of the dead have expired. With one owner it takes 1, mostly it takes 1 or 2.
//   - Then nothing moves until owners come or go.
//   - A newcomer costs at most one steal; all else moves in order. Owners that
//     stay lose no partition when others leave, but for the one that an owner
//     without any may steal.
//   - A partition that was given up for an owner that does not take it is claimed
//     by somebody else after about 4 rounds, or once that owner has expired.
//   - In one group with azeventhubs' Processors everybody gets a share, at the
//     pace of their strategy, and then nobody is stolen from. This does not hold
//     if the clock of such a Processor is wrong by more than 20 seconds: it then
//     takes live partitions, of whomever, for expired.
//
// # Expiry
//
// A record expires if its owner did not renew it for the expiration. The
// machine's wall clock cannot tell, as it may be minutes off. Two things can.
// The time of an own win is the service's time or a little before, so the time
// that passed since, by the monotonic clock, tells the age of any record. Without
// a win in the last hour, a record is as old as it was seen unchanged. Both are
// lower bounds: LastModifiedTime has a resolution of a second, and requests take
// time. Where nothing has been won yet, the first claim of a newcomer tells. The
// times of other records do not, as one that lies in the future would let all
// others expire.
//
// While the store is out of reach, nobody can renew. Time between a failed list
// and the next good one, the time that a list takes, and all but half an interval
// of a pause that is longer than rounds are apart do not count towards expiry, nor
// towards the rounds for which an owner is watched. If every write of a round
// fails, though lists are good, the time since the last win does not count either:
// others may have failed to renew since then. For each record at most MaxOutage is
// left out, after which its owner no longer reads either. So a record expires at
// the first good list after the expiration and MaxOutage, however often lists fail.
//
// An owner that starts at the end of an outage did not see it. If it lists before
// the others have renewed, it takes their partitions for expired.
package balance
