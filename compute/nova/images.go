package nova

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// createImage keeps a server as an image.
func (a *api) createImage(c *call, id string, argument json.RawMessage) error {
	var image struct {
		Name     string
		Metadata map[string]string
	}
	if err := json.Unmarshal(argument, &image); err != nil {
		return fault.Wrap(compute.ErrInvalid, "Malformed request body")
	}
	imageID, err := a.compute.CreateImage(c.Context(), c.scope(), id, strings.TrimSpace(image.Name), image.Metadata)
	if err != nil {
		return err
	}
	return c.beingMade(imageID)
}

// beingMade answers with the image that is being made: in the body since 2.45, in a header before.
func (c *call) beingMade(imageID string) error {
	if c.at(45) {
		return c.json(http.StatusAccepted, object{"image_id": imageID})
	}
	c.ResponseWriter.Header().Set("Location", c.bookmark("images", imageID)[0]["href"].(string))
	return c.empty(http.StatusAccepted)
}

func backupSchema(*call) *wire.Schema {
	return record(map[string]*wire.Schema{
		"name": typeName(), "backup_type": {Types: []string{"string"}}, "rotation": bounded(0, 0), "metadata": typeMetadata(),
	}, "name", "backup_type", "rotation")
}

// createBackup keeps a server as one of its latest images.
func (a *api) createBackup(c *call, id string, argument json.RawMessage) error {
	var backup struct {
		Name       string
		BackupType string `json:"backup_type"`
		Rotation   wire.Int
		Metadata   map[string]string
	}
	if err := json.Unmarshal(argument, &backup); err != nil {
		return fault.Wrap(compute.ErrInvalid, "Malformed request body")
	}
	imageID, err := a.compute.CreateBackup(c.Context(), c.scope(), id, compute.BackupSpec{
		Name: strings.TrimSpace(backup.Name), Type: backup.BackupType, Rotation: int(backup.Rotation), Properties: backup.Metadata,
	})
	switch {
	case err != nil:
		return err
	case backup.Rotation == 0 && !c.at(45):
		return c.empty(http.StatusAccepted) // nothing will be left to point to
	}
	return c.beingMade(imageID)
}
