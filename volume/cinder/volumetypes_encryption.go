package cinder

import (
	"net/http"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/volume"
)

func encryptionView(t *volume.Type, e *volume.TypeEncryption) object {
	return object{
		"volume_type_id": t.ID, "encryption_id": e.ID, "provider": e.Provider, "control_location": e.ControlLocation,
		"cipher": nilIfEmpty(e.Cipher), "key_size": nilIfZero(e.KeySize),
	}
}

// typeEncryption is the type in the address and how its volumes are encrypted, nil for not at all.
func (a *api) typeEncryption(c *call) (*volume.Type, *volume.TypeEncryption, error) {
	t, err := a.volumeType(c)
	if err != nil {
		return nil, nil, err
	}
	e, err := a.volumes.TypeEncryption(c.Context(), c.scope(), t.ID)
	return t, e, err
}

func (a *api) showTypeEncryption(c *call) error {
	t, e, err := a.typeEncryption(c)
	if err != nil || e == nil {
		if err == nil {
			err = c.json(http.StatusOK, object{})
		}
		return err
	}
	o := encryptionView(t, e)
	o["deleted"], o["created_at"], o["updated_at"], o["deleted_at"] = false, timestamp(e.CreatedAt), moment(&e.UpdatedAt), nil
	return c.json(http.StatusOK, o)
}

func (a *api) showTypeEncryptionItem(c *call) error {
	t, e, err := a.typeEncryption(c)
	if err != nil {
		return err
	}
	key := c.PathValue("key")
	if e != nil {
		if value, ok := encryptionView(t, e)[key]; ok {
			return c.json(http.StatusOK, object{key: value})
		}
	}
	return fault.Wrap(volume.ErrNotFound, "Volume type encryption for type %s does not exist.", t.ID)
}

func encryptionSchema(required ...string) *schema {
	low, high := int64(0), int64(maxInt)
	inner := record(fields{
		"key_size": {Types: []string{"string", "integer", "null"}, Minimum: &low, Maximum: &high, Check: func(value any) string {
			if text, ok := value.(string); ok && !digits.MatchString(text) {
				return "key_size must be an integer."
			}
			return ""
		}},
		"provider": {Types: []string{"string"}, MaxLength: 255}, "control_location": words("front-end", "back-end"), "cipher": typeText(),
	}, required...)
	inner.Others = anything()
	return wrap("encryption", inner)
}

type encryptionBody struct {
	Encryption struct {
		Provider *string
		Location *string `json:"control_location"`
		Cipher   *string
		KeySize  *text `json:"key_size"`
	}
}

func (b *encryptionBody) spec() volume.EncryptionSpec {
	in := &b.Encryption
	spec := volume.EncryptionSpec{Provider: in.Provider, ControlLocation: in.Location, Cipher: in.Cipher}
	if in.KeySize != nil && *in.KeySize != "" {
		n := in.KeySize.number()
		spec.KeySize = &n
	}
	return spec
}

func (a *api) createTypeEncryption(c *call) error {
	var body encryptionBody
	if err := c.body(encryptionSchema("provider", "control_location"), &body); err != nil {
		return err
	}
	t, err := a.volumeType(c)
	if err != nil {
		return err
	}
	e, err := a.volumes.SetTypeEncryption(c.Context(), c.scope(), t.ID, body.spec())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"encryption": encryptionView(t, e)})
}

// encryptionID is the identifier of the type's only encryption, whatever the address calls it: clients say "provider".
func (a *api) encryptionID(c *call) (string, error) {
	_, e, err := a.typeEncryption(c)
	if err != nil || e == nil {
		return c.PathValue("key"), err
	}
	return e.ID, nil
}

func (a *api) updateTypeEncryption(c *call) error {
	var body encryptionBody
	if err := c.body(encryptionSchema(), &body); err != nil {
		return err
	}
	id, err := a.encryptionID(c)
	if err != nil {
		return err
	}
	if _, err := a.volumes.UpdateTypeEncryption(c.Context(), c.scope(), c.id(), id, body.spec()); err != nil {
		return err
	}
	spec, said := body.spec(), object{}
	for key, value := range map[string]*string{"provider": spec.Provider, "control_location": spec.ControlLocation, "cipher": spec.Cipher} {
		if value != nil {
			said[key] = *value
		}
	}
	if spec.KeySize != nil {
		said["key_size"] = *spec.KeySize
	}
	return c.json(http.StatusOK, object{"encryption": said})
}

func (a *api) deleteTypeEncryption(c *call) error {
	id, err := a.encryptionID(c)
	if err != nil {
		return err
	}
	return c.accepted(a.volumes.DeleteTypeEncryption(c.Context(), c.scope(), c.id(), id))
}
