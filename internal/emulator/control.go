package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
)

// command is one line to the server.
type command struct {
	ID        int64   `json:"id"`
	Op        string  `json:"op"`
	Partition string  `json:"partition"`
	N         int     `json:"n"`
	Rate      float64 `json:"rate"`
}

// response is one line from the server: the port when it listens, or else the answer to the command with that id.
type response struct {
	Port   int             `json:"port"`
	ID     int64           `json:"id"`
	Error  string          `json:"error"`
	Result json.RawMessage `json:"result"`
}

type partitionState struct {
	Opened  int64 `json:"opened"`
	Stolen  int64 `json:"stolen"`
	Refused int64 `json:"refused"`
	Sent    int64 `json:"sent"`
	Last    int64 `json:"last,string"`
}

// onLine hands a line of the server to who waits for it.
func (e *Emulator) onLine(line string) {
	var r response
	if json.Unmarshal([]byte(line), &r) != nil {
		return // not ours; the process keeps it for error messages
	}
	if r.Port != 0 {
		e.ready <- r.Port
		return
	}
	e.mu.Lock()
	answer := e.waiting[r.ID]
	delete(e.waiting, r.ID)
	e.mu.Unlock()
	if answer != nil {
		answer <- r
	}
}

// call sends a command and waits for its answer, which it stores in result unless that is nil.
func (e *Emulator) call(c command, result any) error {
	answer := make(chan response, 1)
	e.mu.Lock()
	e.nextID++
	c.ID = e.nextID
	e.waiting[c.ID] = answer
	err := json.NewEncoder(e.process).Encode(c) // under the lock, so that lines do not mix
	e.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", c.Op, err)
	}
	select {
	case r := <-answer:
		if r.Error != "" {
			return errors.New(c.Op + ": " + r.Error)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-e.process.Done():
		return fmt.Errorf("%s: %w", c.Op, e.process.Err())
	}
}
