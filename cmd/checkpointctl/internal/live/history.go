package live

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/ea947076/checkpointstore/cmd/checkpointctl/internal/report"
)

// maxPoints bounds a history: an hour at intervals of 5 seconds.
const maxPoints = 720

// historyPoints is how many rounds a history keeps: those of an hour.
func historyPoints(interval time.Duration) int {
	return int(min(max(time.Hour/interval, 2), maxPoints))
}

// unknown is a value that is not known, null in JSON.
const unknown = -1

// history is the lag and the age of the checkpoints of a consumer group in the latest
// rounds. All of its series have a place for each round.
type history struct {
	points     int // how many rounds it keeps
	rounds     int // how many there were
	times      []int64
	lag        []int64
	lagTime    []tenths
	partitions map[string]*series
}

// series is the history of one partition.
type series struct {
	lag  []int64
	age  []tenths
	last int // the round in which the partition was seen
}

// tenths is a duration in tenths of a second.
type tenths int32

func newHistory(points int) *history {
	return &history{
		points:     points,
		times:      make([]int64, points),
		lag:        make([]int64, points),
		lagTime:    make([]tenths, points),
		partitions: make(map[string]*series),
	}
}

// add adds a round. A nil list of partitions is one that could not be read.
func (h *history) add(at time.Time, total *Group, partitions []report.Partition) {
	i := h.rounds % h.points
	h.rounds++
	h.times[i], h.lag[i], h.lagTime[i] = at.UnixMilli(), unknown, unknown
	if total != nil {
		h.lag[i], h.lagTime[i] = orUnknown(total.Lag), tenthsOf(total.LagTime)
	}
	for id, s := range h.partitions {
		s.lag[i], s.age[i] = unknown, unknown
		if h.rounds-s.last >= h.points && partitions != nil {
			delete(h.partitions, id)
		}
	}
	for _, p := range partitions {
		s := h.partitions[p.PartitionID]
		if s == nil {
			s = &series{lag: make([]int64, h.points), age: make([]tenths, h.points)}
			for j := range h.points {
				s.lag[j], s.age[j] = unknown, unknown
			}
			h.partitions[p.PartitionID] = s
		}
		s.lag[i], s.age[i], s.last = orUnknown(p.Lag), tenthsOf(p.CheckpointAge), h.rounds
	}
}

func orUnknown(n *int64) int64 {
	if n == nil {
		return unknown
	}
	return *n
}

func tenthsOf(s *report.Seconds) tenths {
	if s == nil {
		return unknown
	}
	return tenths(min(float64(*s)*10+0.5, 1<<31-1))
}

// json is the history as the API has it, in the order of time. With a thousand
// partitions it has most of a million numbers, which encoding/json takes long for.
func (h *history) json() []byte {
	n := min(h.rounds, h.points)
	b := make([]byte, 0, 256+16*n+12*n*len(h.partitions))
	b = append(b, `{"schemaVersion":1,"times":`...)
	b = appendList(b, h.rounds, h.times, func(b []byte, ms int64) []byte {
		return strconv.AppendFloat(b, float64(ms)/1000, 'f', -1, 64)
	})
	b = append(b, `,"lag":`...)
	b = appendList(b, h.rounds, h.lag, appendCount)
	b = append(b, `,"lagSeconds":`...)
	b = appendList(b, h.rounds, h.lagTime, appendTenths)
	b = append(b, `,"partitions":{`...)
	ids := make([]string, 0, len(h.partitions))
	for id := range h.partitions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		name, _ := json.Marshal(id)
		b = append(append(b, name...), `:{"lag":`...)
		b = appendList(b, h.rounds, h.partitions[id].lag, appendCount)
		b = append(b, `,"checkpointAgeSeconds":`...)
		b = appendList(b, h.rounds, h.partitions[id].age, appendTenths)
		b = append(b, '}')
	}
	return append(b, "}}\n"...)
}

// appendList appends the values of the latest rounds, the oldest first.
func appendList[T any](b []byte, rounds int, values []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	n := min(rounds, len(values))
	for i := rounds - n; i < rounds; i++ {
		if i > rounds-n {
			b = append(b, ',')
		}
		b = one(b, values[i%len(values)])
	}
	return append(b, ']')
}

func appendCount(b []byte, n int64) []byte {
	if n == unknown {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, n, 10)
}

func appendTenths(b []byte, t tenths) []byte {
	if t == unknown {
		return append(b, "null"...)
	}
	b = strconv.AppendInt(b, int64(t/10), 10)
	if t%10 != 0 {
		b = append(b, '.', byte('0'+t%10))
	}
	return b
}
