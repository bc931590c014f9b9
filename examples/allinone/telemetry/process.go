package telemetry

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// fact is a metric of the process, which is looked up when it is asked for.
type fact struct {
	kind       kind
	name, help string
	value      float64
}

// writeProcess shows what Prometheus' own client tells of Go programs and, where there is /proc, of processes, by the
// same names.
func writeProcess(b *bytes.Buffer) {
	writeHead(b, gauge, "go_info", "What the program was compiled by.")
	writeSample(b, "go_info", `version="`+runtime.Version()+`"`, 1)
	writePauses(b)
	for _, f := range append(runtimeFacts(), processFacts()...) {
		writeHead(b, f.kind, f.name, f.help)
		writeSample(b, f.name, "", f.value)
	}
}

// writePauses shows how long garbage collections held the program up.
func writePauses(b *bytes.Buffer) {
	const name = "go_gc_duration_seconds"
	stats := debug.GCStats{PauseQuantiles: make([]time.Duration, 5)}
	debug.ReadGCStats(&stats)
	writeHead(b, "summary", name, "Pauses for garbage collection.")
	for i, pause := range stats.PauseQuantiles {
		writeSample(b, name, `quantile="`+number(float64(i)/4)+`"`, pause.Seconds())
	}
	writeSample(b, name+"_sum", "", stats.PauseTotal.Seconds())
	writeSample(b, name+"_count", "", float64(stats.NumGC))
}

func runtimeFacts() []fact {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	threads, _ := runtime.ThreadCreateProfile(nil)
	return []fact{
		{gauge, "go_goroutines", "Goroutines that exist.", float64(runtime.NumGoroutine())},
		{gauge, "go_threads", "Threads of the operating system that were created.", float64(threads)},
		{gauge, "go_sched_gomaxprocs_threads", "Threads that may run Go code at once.", float64(runtime.GOMAXPROCS(0))},
		{gauge, "go_memstats_alloc_bytes", "Bytes of the heap's objects.", float64(m.Alloc)},
		{counter, "go_memstats_alloc_bytes_total", "Bytes of all objects so far.", float64(m.TotalAlloc)},
		{counter, "go_memstats_mallocs_total", "Objects that were made.", float64(m.Mallocs)},
		{counter, "go_memstats_frees_total", "Objects that were freed.", float64(m.Frees)},
		{gauge, "go_memstats_sys_bytes", "Bytes taken from the operating system.", float64(m.Sys)},
		{gauge, "go_memstats_heap_alloc_bytes", "Bytes of the heap's objects.", float64(m.HeapAlloc)},
		{gauge, "go_memstats_heap_sys_bytes", "Bytes taken for the heap.", float64(m.HeapSys)},
		{gauge, "go_memstats_heap_idle_bytes", "Bytes of the heap that nothing uses.", float64(m.HeapIdle)},
		{gauge, "go_memstats_heap_inuse_bytes", "Bytes of the heap that are in use.", float64(m.HeapInuse)},
		{gauge, "go_memstats_heap_released_bytes", "Bytes of the heap that were given back.", float64(m.HeapReleased)},
		{gauge, "go_memstats_heap_objects", "Objects in the heap.", float64(m.HeapObjects)},
		{gauge, "go_memstats_stack_inuse_bytes", "Bytes of stacks.", float64(m.StackInuse)},
		{gauge, "go_memstats_next_gc_bytes", "The heap's size at which garbage is collected next.", float64(m.NextGC)},
		{gauge, "go_memstats_last_gc_time_seconds", "When garbage was last collected, since 1970.", float64(m.LastGC) / 1e9},
	}
}

// tick is the kernel's unit of time in /proc, on all of Linux's platforms that Go knows.
const tick = 0.01 // seconds

// processFacts are read from /proc, see proc(5). What cannot be read is left out.
func processFacts() (facts []fact) {
	if of, err := readStat(); err == nil {
		facts = append(facts,
			fact{counter, "process_cpu_seconds_total", "Processor time, in the program and in the kernel for it.", (of[14] + of[15]) * tick},
			fact{gauge, "process_virtual_memory_bytes", "Bytes of address space.", of[23]},
			fact{gauge, "process_resident_memory_bytes", "Bytes in memory.", of[24] * float64(os.Getpagesize())},
		)
		if boot, err := readWord("/proc/stat", "btime"); err == nil {
			facts = append(facts, fact{gauge, "process_start_time_seconds", "When the process started, since 1970.", boot + of[22]*tick})
		}
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		facts = append(facts, fact{gauge, "process_open_fds", "File descriptors that are open.", float64(len(open))})
	}
	if most, err := readWord("/proc/self/limits", "Max open files"); err == nil {
		facts = append(facts, fact{gauge, "process_max_fds", "File descriptors that may be open.", most})
	}
	return facts
}

// readStat returns the numbers of /proc/self/stat, by their places in the manual page.
func readStat() (of [25]float64, err error) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return of, err
	}
	// The second is the program's name, in parentheses: it may have anything in it. The third is a letter.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	for place := 4; place < len(of); place++ {
		if place-3 >= len(fields) {
			return of, fmt.Errorf("/proc/self/stat has no field %d", place)
		}
		if of[place], err = strconv.ParseFloat(fields[place-3], 64); err != nil {
			return of, err
		}
	}
	return of, nil
}

// readWord returns the number behind a line's beginning.
func readWord(file, begins string) (float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, begins+" "); ok {
			word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return strconv.ParseFloat(word, 64) // "unlimited" is an error
		}
	}
	return 0, fmt.Errorf("%s does not tell %q", file, begins)
}
