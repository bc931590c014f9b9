//go:build linux

package lvmvolume

import "time"

// Emulated has a driver ask less of an emulated machine: fewer rounds of PBKDF2, and more time for servers to start.
func (o *Options) Emulated() { o.rounds, o.answerTime = 1000, time.Minute }
