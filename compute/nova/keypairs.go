package nova

import (
	"net/http"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) keypairOperations() []operation {
	return []operation{
		{method: "GET", path: "/os-keypairs", serve: a.listKeypairs},
		{method: "POST", path: "/os-keypairs", serve: a.createKeypair},
		{method: "GET", path: "/os-keypairs/{name}", serve: a.showKeypair},
		{method: "DELETE", path: "/os-keypairs/{name}", serve: a.deleteKeypair},
	}
}

// keypairOwner is the user whose keypairs the request is about: another's since 2.10, and for admins only.
func (c *call) keypairOwner(asked string) (string, error) {
	if asked == "" || asked == c.caller.UserID || !c.at(10) {
		return c.caller.UserID, nil
	}
	if !c.caller.IsAdmin() {
		return "", forbidden("os_compute_api:os-keypairs")
	}
	return asked, nil
}

func keypairSchema(minor int) *wire.Schema {
	pattern := oldKeyName
	if minor >= 92 {
		pattern = keyName
	}
	name := &wire.Schema{Types: []string{"string"}, Check: checkName, MinLength: 1, MaxLength: 255, Pattern: pattern}
	properties, required := map[string]*wire.Schema{"name": name, "public_key": typeString()}, []string{"name"}
	if minor >= 2 {
		properties["type"] = words("ssh", "x509")
	}
	if minor >= 10 {
		properties["user_id"] = typeString()
	}
	if minor >= 92 {
		required = append(required, "public_key")
	}
	return wrap("keypair", record(properties, required...))
}

func (a *api) createKeypair(c *call) error {
	var body struct {
		Keypair struct {
			Name, Type string
			PublicKey  *string `json:"public_key"`
			UserID     string  `json:"user_id"`
		}
	}
	if err := c.body(keypairSchema(c.minor), &body); err != nil {
		return err
	}
	in := body.Keypair
	if in.Type == "x509" {
		return fault.Wrap(compute.ErrInvalid, "Keypair data is invalid: keypairs of type x509 are not supported here")
	}
	owner, err := c.keypairOwner(in.UserID)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if !c.at(2) {
		status = http.StatusOK
	}
	if in.PublicKey != nil {
		k, err := a.compute.ImportKeypair(c.Context(), owner, in.Name, *in.PublicKey)
		if err != nil {
			return err
		}
		o := c.keypair(k)
		o["user_id"] = k.UserID
		return c.json(status, object{"keypair": o})
	}
	k, private, err := a.compute.GenerateKeypair(c.Context(), owner, in.Name, compute.RSA)
	if err != nil {
		return err
	}
	o := c.keypair(k)
	o["user_id"], o["private_key"] = k.UserID, private
	return c.json(status, object{"keypair": o})
}

func (c *call) keypair(k *compute.Keypair) object {
	o := object{"name": k.Name, "public_key": k.PublicKey, "fingerprint": k.Fingerprint}
	if c.at(2) {
		o["type"] = k.Type
	}
	return o
}

func (a *api) listKeypairs(c *call) error {
	known := []string{}
	if c.at(10) {
		known = append(known, "user_id")
	}
	if c.at(35) {
		known = append(known, "limit", "marker")
	}
	if err := c.onlyQuery(known...); err != nil {
		return err
	}
	owner, err := c.keypairOwner(c.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	limit, marker := 0, ""
	if c.at(35) {
		if limit, marker, err = c.page(); err != nil {
			return err
		}
	}
	list, err := a.compute.Keypairs(c.Context(), owner, marker, limit)
	if err != nil {
		return err
	}
	shown := make([]object, 0, len(list))
	for i := range list {
		shown = append(shown, object{"keypair": c.keypair(&list[i])})
	}
	answer := object{"keypairs": shown}
	if c.at(35) && len(list) > 0 {
		if links := c.next(len(list), limit, list[len(list)-1].Name); links != nil {
			answer["keypairs_links"] = links
		}
	}
	return c.json(http.StatusOK, answer)
}

func (a *api) showKeypair(c *call) error {
	owner, err := c.keypairOwner(c.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	k, err := a.compute.Keypair(c.Context(), owner, c.PathValue("name"))
	if err != nil {
		return err
	}
	o := c.keypair(k)
	o["user_id"], o["id"], o["created_at"], o["updated_at"], o["deleted"], o["deleted_at"] = k.UserID, k.Number, precise(k.CreatedAt), nil, false, nil
	return c.json(http.StatusOK, object{"keypair": o})
}

func (a *api) deleteKeypair(c *call) error {
	owner, err := c.keypairOwner(c.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	if err := a.compute.DeleteKeypair(c.Context(), owner, c.PathValue("name")); err != nil {
		return err
	}
	if c.at(2) {
		return c.empty(http.StatusNoContent)
	}
	return c.empty(http.StatusAccepted)
}
