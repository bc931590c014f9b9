package quickstart

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// Display shows steps as they happen: a line each, and on a terminal a clock and a bar while one is under way.
type Display struct {
	out  io.Writer
	live bool

	mu    sync.Mutex
	text  string
	start time.Time
	done  chan struct{}
}

// NewDisplay writes to out.
func NewDisplay(out io.Writer) *Display {
	file, ok := out.(*os.File)
	return &Display{out: out, live: ok && term.IsTerminal(int(file.Fd()))}
}

// Step shows the title while do runs, and then what came of it. do may call note with what it is waiting for.
func (d *Display) Step(title string, do func(note func(string)) (string, error)) error {
	d.begin(title)
	result, err := do(func(text string) { d.set(title + ": " + text) })
	took := d.end()
	if err != nil {
		_, _ = fmt.Fprintf(d.out, "  ✗ %s\n", title)
		return fmt.Errorf("%s: %w", title, err)
	}
	if result != "" {
		title += ": " + result
	}
	_, _ = fmt.Fprintf(d.out, "  ✓ %s (%s)\n", title, took.Round(10*time.Millisecond))
	return nil
}

func (d *Display) begin(title string) {
	d.text, d.start, d.done = title, time.Now(), make(chan struct{})
	if !d.live {
		return
	}
	go func(done chan struct{}) {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-ticker.C:
				d.draw([]rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")[i%10])
			}
		}
	}(d.done)
}

func (d *Display) draw(spinner rune) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = fmt.Fprintf(d.out, "\r\x1b[K  %c %s (%.0f s)", spinner, d.text, time.Since(d.start).Seconds())
}

func (d *Display) set(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = text
}

func (d *Display) end() time.Duration {
	close(d.done)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live {
		_, _ = fmt.Fprint(d.out, "\r\x1b[K")
	}
	return time.Since(d.start)
}

// progress reports how much of a stream has been read.
type progress struct {
	io.Reader
	total, read int64
	note        func(string)
}

func (p *progress) Read(buffer []byte) (int, error) {
	n, err := p.Reader.Read(buffer)
	p.read += int64(n)
	if p.total > 0 {
		const width = 24
		filled := int(width * p.read / p.total)
		p.note(fmt.Sprintf("[%-*s] %d of %d MiB", width, bar[:filled], p.read>>20, p.total>>20))
	}
	return n, err
}

const bar = "########################"
