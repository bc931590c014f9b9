package image_test

import (
	"testing"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/image"
	"github.com/stretchr/testify/require"
)

func TestWatchTellsOfImagesAndWhoTheyAreSharedWith(t *testing.T) {
	w := newWorld(t, nil)
	img := w.uploaded(alice, raw("one"), "content")
	_, err := w.AddMember(t.Context(), alice, img.ID, bob.ProjectID)
	require.NoError(t, err)
	require.NoError(t, w.Delete(t.Context(), alice, img.ID))
	var list []event.Event
	for e, err := range w.Watch(t.Context(), 0) {
		require.NoError(t, err)
		require.Equal(t, "image", e.Domain)
		list = append(list, e)
		if e.Type == "image" && e.Action == event.Deleted {
			break
		}
	}
	first, last := list[0], list[len(list)-1]
	require.Equal(t, []string{img.ID, "created", "alice", string(image.Queued)}, []string{first.ID, string(first.Action), first.ProjectID, first.Status})
	require.Equal(t, []string{img.ID, "alice", string(image.Active)}, []string{last.ID, last.ProjectID, last.Status})
	require.Contains(t, actions(list), "image_member "+img.ID+"/bob created bob pending")
	require.Contains(t, actions(list), "image_member "+img.ID+"/bob deleted bob pending")
	require.Contains(t, actions(list), "image "+img.ID+" updated alice active")
}

func actions(list []event.Event) (texts []string) {
	for _, e := range list {
		texts = append(texts, e.Type+" "+e.ID+" "+string(e.Action)+" "+e.ProjectID+" "+e.Status)
	}
	return texts
}
