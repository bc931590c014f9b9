package swift

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// pulse keeps a connection alive with blanks while something takes long, for whom a report comes at the end.
type pulse struct {
	a     *api
	q     *request
	media string // the report's media type
	code  int    // what the answer begins with
	// begun says that the answer has begun; told is when it last went on.
	begun bool
	told  time.Time
}

func (a *api) newPulse(q *request, media string, code int) *pulse {
	return &pulse{a: a, q: q, media: media, code: code, told: a.options.Now()}
}

// tick writes a blank when nothing was written for long.
func (p *pulse) tick() {
	if p.a.options.Now().Sub(p.told) >= bulkYieldFrequency*time.Second {
		p.beat()
	}
}

// beat writes a blank, and what comes before the first.
func (p *pulse) beat() {
	p.told = p.a.options.Now()
	control := http.NewResponseController(p.q.w)
	if !p.begun {
		p.begun = true
		_ = control.EnableFullDuplex() // the body may still be read
		_ = control.SetWriteDeadline(time.Time{})
		p.q.w.Header().Set("Content-Type", p.media)
		p.q.start(p.code)
		if strings.HasSuffix(p.media, "/xml") {
			_, _ = io.WriteString(p.q.w, `<?xml version="1.0" encoding="UTF-8"?>`+"\n")
		}
	}
	_, _ = p.q.w.Write([]byte(" "))
	_ = control.Flush()
}

// tell writes the report behind the blanks.
func (p *pulse) tell(report []byte) {
	_, _ = p.q.w.Write(append([]byte("\r\n\r\n"), report...)) // a client that has gone cannot be told
}
