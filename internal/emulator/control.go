package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// command is one line to the server.
type command struct {
	ID        int64     `json:"id"`
	Op        string    `json:"op"`
	Partition string    `json:"partition"`
	Target    Target    `json:"target"`
	Condition Condition `json:"condition"`
	Counter   Counter   `json:"counter"`
	Sequence  string    `json:"sequence"`
	N         int64     `json:"n"`
	Rate      float64   `json:"rate"`

	Properties map[string]string `json:"properties,omitempty"`
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
	Closed  int64 `json:"closed"`
	Stolen  int64 `json:"stolen"`
	Refused int64 `json:"refused"`
	Held    int64 `json:"held"`
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
		e.port = r.Port
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
	return e.callContext(context.Background(), c, result)
}

// callContext is call for commands whose answer may take long.
func (e *Emulator) callContext(ctx context.Context, c command, result any) error {
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
	case <-ctx.Done():
		e.mu.Lock()
		delete(e.waiting, c.ID)
		e.mu.Unlock()
		return fmt.Errorf("%s: %w", c.Op, context.Cause(ctx))
	case <-e.process.Done():
		return fmt.Errorf("%s: %w", c.Op, e.process.Err())
	}
}
