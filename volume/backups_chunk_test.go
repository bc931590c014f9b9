package volume

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// objects is a BackupStore in memory.
type objects struct {
	mu   sync.Mutex
	kept map[string][]byte
	// before, if not nil, is called before each call and may fail it.
	before func(call, object string) error
}

func newObjects() *objects { return &objects{kept: map[string][]byte{}} }

func (o *objects) begin(call, object string) error {
	o.mu.Lock()
	before := o.before
	o.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(call, object)
}

func (o *objects) Put(_ context.Context, project, container, object string, r io.Reader) error {
	if err := o.begin("put", object); err != nil {
		return err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept[project+"/"+container+"/"+object] = data
	return nil
}

func (o *objects) Open(_ context.Context, project, container, object string) (io.ReadCloser, error) {
	if err := o.begin("open", object); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	data, ok := o.kept[project+"/"+container+"/"+object]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (o *objects) Delete(_ context.Context, project, container, object string) error {
	if err := o.begin("delete", object); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.kept, project+"/"+container+"/"+object)
	return nil
}

func (o *objects) names() (all []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name := range o.kept {
		all = append(all, name)
	}
	return all
}

// disk is a device in memory that counts what is written.
type disk struct {
	data    []byte
	written int64
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(d.data).ReadAt(p, off)
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	d.written += int64(len(p))
	return copy(d.data[off:], p), nil
}

func (d *disk) Size() int64  { return int64(len(d.data)) }
func (d *disk) Sync() error  { return nil }
func (d *disk) Close() error { return nil }

// holes is a disk that knows where nothing was written, by megabytes.
type holes struct{ disk }

func (d *holes) NextData(offset int64) (start, end int64, err error) {
	for at := offset; at < d.Size(); at = (at/copyBlock + 1) * copyBlock {
		stop := min((at/copyBlock+1)*copyBlock, d.Size())
		if !zeroes(d.data[at:stop]) {
			return at, stop, nil
		}
	}
	return 0, 0, io.EOF
}

func (d *holes) Zero(offset, length int64) error {
	clear(d.data[offset : offset+length])
	return nil
}

const testChunk = 4 << 20

func scatter(r *rand.Rand, data []byte, writes int) {
	for range writes {
		at := r.IntN(len(data))
		length := min(r.IntN(200<<10), len(data)-at)
		switch r.IntN(3) {
		case 0:
			clear(data[at : at+length])
		default:
			for i := range data[at : at+length] {
				data[at+i] = byte(r.Uint32())
			}
		}
	}
}

func testPlace(store BackupStore, name string) *backupPlace {
	return &backupPlace{store: store, project: "p", container: "c", prefix: name, backupID: name, volumeID: "v", chunk: testChunk}
}

func mustBackUp(t *testing.T, from *holes, to *backupPlace, parents backupChain) {
	t.Helper()
	require.NoError(t, backUp(t.Context(), from, to, parents, backupProgress{}, func(p backupProgress) error {
		to.pieces = p.Pieces
		return nil
	}))
}

func TestAChainOfBackupsIsRestoredAsItWasEachTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	store := newObjects()
	volume := &holes{disk{data: make([]byte, 21<<20)}}
	var chain backupChain
	var moments [][]byte
	for i := range 6 {
		scatter(r, volume.data[:12<<20], 4*i)
		if i == 4 { // the volume has grown
			volume.data = append(volume.data, make([]byte, 9<<20)...)
			scatter(r, volume.data[20<<20:], 3)
		}
		to := testPlace(store, string(rune('a'+i)))
		mustBackUp(t, volume, to, chain)
		chain = append(chain, to)
		moments = append(moments, bytes.Clone(volume.data))
	}
	require.Empty(t, chain[0].pieces, "a volume of zeroes needs no objects")
	for i, want := range moments {
		// Onto something that has been used, and onto something empty.
		used := &holes{disk{data: bytes.Repeat([]byte{7}, len(want))}}
		empty := &disk{data: make([]byte, len(want))}
		for _, to := range []struct {
			device interface {
				io.ReaderAt
				io.WriterAt
				io.Closer
				Size() int64
				Sync() error
			}
			data []byte
		}{{used, used.data}, {empty, empty.data}} {
			require.NoError(t, restore(t.Context(), chain[:i+1], int64(len(want)), to.device, 0, func(int) error { return nil }))
			require.True(t, bytes.Equal(want, to.data), "moment %d", i)
		}
	}
}

func TestAnUnchangedPieceIsNotStoredAgain(t *testing.T) {
	store := newObjects()
	volume := &holes{disk{data: make([]byte, 16<<20)}}
	copy(volume.data[5<<20:], "something")
	full := testPlace(store, "full")
	mustBackUp(t, volume, full, nil)
	require.Equal(t, []int{1}, full.pieces)
	next := testPlace(store, "next")
	mustBackUp(t, volume, next, backupChain{full})
	require.Empty(t, next.pieces)
	clear(volume.data)
	last := testPlace(store, "last")
	mustBackUp(t, volume, last, backupChain{full, next})
	require.Equal(t, []int{1}, last.pieces)
	to := &holes{disk{data: bytes.Repeat([]byte{1}, 16<<20)}}
	require.NoError(t, restore(t.Context(), backupChain{full, next, last}, 16<<20, to, 0, func(int) error { return nil }))
	require.True(t, zeroes(to.data))
}

func TestABackupGoesOnWhereItStopped(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	store := newObjects()
	volume := &holes{disk{data: make([]byte, 40<<20)}}
	scatter(r, volume.data, 60)
	stop := errors.New("killed")
	to := testPlace(store, "b")
	var progress backupProgress
	kills := 0
	for {
		calls := 0
		err := backUp(t.Context(), volume, to, nil, progress, func(p backupProgress) error {
			progress = p
			if calls++; calls == 3 {
				return stop
			}
			return nil
		})
		if err == nil {
			break
		}
		require.ErrorIs(t, err, stop)
		kills++
	}
	require.Equal(t, 3, kills)
	to.pieces = progress.Pieces
	got := &holes{disk{data: make([]byte, 40<<20)}}
	next := 0
	for next < pieceCount(40<<20, testChunk) {
		_ = restore(t.Context(), backupChain{to}, 40<<20, got, next, func(n int) error { next = n; return stop })
	}
	require.True(t, bytes.Equal(volume.data, got.data))
}

func TestWhatIsNotAsStoredIsNeverRestored(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	store := newObjects()
	volume := &holes{disk{data: make([]byte, 8<<20)}}
	scatter(r, volume.data, 10)
	full := testPlace(store, "full")
	mustBackUp(t, volume, full, nil)
	whole := bytes.Clone(store.kept["p/c/full-00001"])
	for range 200 {
		object := bytes.Clone(whole)
		switch r.IntN(3) {
		case 0:
			object[r.IntN(len(object))] ^= 1 << r.IntN(8)
		case 1:
			object = object[:r.IntN(len(object))]
		case 2:
			object = store.kept["p/c/full-00002"]
		}
		store.kept["p/c/full-00001"] = object
		to := &holes{disk{data: make([]byte, 8<<20)}}
		err := restore(t.Context(), backupChain{full}, 8<<20, to, 0, func(int) error { return nil })
		require.ErrorIs(t, err, errDamaged)
		require.Zero(t, to.written)
	}
	delete(store.kept, "p/c/full-00001")
	require.ErrorIs(t, restore(t.Context(), backupChain{full}, 8<<20, &holes{disk{data: make([]byte, 8<<20)}}, 0, nil), fs.ErrNotExist)
}

func FuzzDecodeChunk(f *testing.F) {
	data := make([]byte, 100<<10)
	copy(data[40<<10:], "something")
	object, err := encodeChunk(chunkHeader{BackupID: "b", VolumeID: "v"}, data, nil)
	require.NoError(f, err)
	f.Add(object)
	f.Fuzz(func(t *testing.T, object []byte) {
		r := bytes.NewReader(object)
		h, hashes, err := decodeChunk(r)
		if err != nil {
			require.ErrorIs(t, err, errDamaged)
			return
		}
		if h.Length > 1<<20 {
			return
		}
		if err := decodePayload(r, h, hashes, make([]byte, h.Length)); err != nil {
			require.ErrorIs(t, err, errDamaged)
		}
	})
}

func BenchmarkEncodeChunk(b *testing.B) {
	data := make([]byte, 16<<20)
	r := rand.New(rand.NewPCG(7, 8))
	for i := range data {
		data[i] = byte(r.Uint32()) & 0x3f
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := encodeChunk(chunkHeader{}, data, nil); err != nil {
			b.Fatal(err)
		}
	}
}
