package sse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/kintoun/kintoun/event"
)

// stream is the answer to one request.
type stream struct {
	handler *Handler
	request *http.Request
	viewer  Viewer
	filter  event.Filter
	sources event.Sources

	w        http.ResponseWriter
	control  *http.ResponseController
	position event.Position
	// moved says that the client does not know the position yet.
	moved bool
}

// step is an event, or the error that ends or interrupts them.
type step struct {
	event event.Event
	err   error
}

func (s *stream) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	steps := make(chan step)
	go func() { defer close(steps); s.watch(ctx, maps.Clone(s.position), steps) }()
	// The watcher has ended when steps is closed.
	defer func() {
		for range steps { //nolint:revive // what is left is not sent
		}
	}()
	defer cancel()
	if s.begin() != nil {
		return
	}
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }() // the connection's next request has its own
	heartbeat := time.NewTicker(s.handler.options.Heartbeat)
	defer heartbeat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case next, more := <-steps:
			if !more {
				return
			}
			err = s.take(next)
		case <-heartbeat.C:
			err = s.beat()
		}
		if err != nil {
			return
		}
	}
}

// watch passes the sources' events on, beyond gaps.
func (s *stream) watch(ctx context.Context, position event.Position, steps chan<- step) {
	for ctx.Err() == nil {
		for e, err := range s.sources.Watch(ctx, position) {
			var gone *event.CompactedError
			switch {
			case errors.As(err, &gone):
				position[gone.Domain] = gone.Last
			case err == nil:
				position.Advance(e)
			}
			select {
			case steps <- step{e, err}:
			case <-ctx.Done():
				return
			}
			if err != nil && gone == nil {
				return
			}
		}
	}
}

// begin sends the headers, and the position from which the stream goes on.
func (s *stream) begin() error {
	// A server's timeouts are for requests that end.
	_ = s.control.SetReadDeadline(time.Time{})
	header := s.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // or nginx keeps events back
	s.w.WriteHeader(http.StatusOK)
	return s.send("retry: 2000\nid: " + s.position.String() + "\n\n")
}

func (s *stream) take(next step) error {
	var gone *event.CompactedError
	if errors.As(next.err, &gone) {
		s.position[gone.Domain] = gone.Last
		return s.tell("compacted", gone)
	}
	if next.err != nil {
		s.handler.options.Log.Error("a stream of events ends", "error", next.err)
		return next.err
	}
	s.position.Advance(next.event)
	if !s.viewer.sees(next.event) || !s.filter.Match(next.event) {
		s.moved = true
		return nil
	}
	return s.tell(string(next.event.Action), next.event)
}

// beat shows that the connection lives and how far it is, if the request may still see something.
func (s *stream) beat() (err error) {
	if s.viewer, err = s.handler.authorize(s.request); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(": heartbeat\n")
	if s.moved {
		b.WriteString("id: " + s.position.String() + "\n")
	}
	b.WriteString("\n")
	s.moved = false
	return s.send(b.String())
}

func (s *stream) tell(name string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	s.moved = false
	return s.send(fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", s.position, name, body))
}

func (s *stream) send(text string) error {
	// Writers that know no deadlines have their own bounds.
	_ = s.control.SetWriteDeadline(time.Now().Add(s.handler.options.WriteTimeout))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
