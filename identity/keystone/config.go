package keystone

import (
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// configKind is the document that holds a domain's configuration. It is kept for clients: there is one driver here,
// the database, whatever it says.
const configKind = "domain configuration"

// defaults are what a domain without a configuration has.
func defaults() map[string]object {
	return map[string]object{
		"identity": {"driver": "sql", "list_limit": nil},
		"ldap":     {"url": "ldap://localhost", "user_tree_dn": nil},
	}
}

func (h *handler) configRoutes() []wire.Route {
	all := []wire.Route{
		admin(http.MethodGet, "/domains/config/default", "get_domain_config_default", func(w http.ResponseWriter, _ *http.Request, _ *identity.Caller) error {
			return wire.JSON(w, http.StatusOK, object{"config": defaults()})
		}),
		admin(http.MethodPut, "/domains/{id}/config", "create_domain_config", h.createConfig),
	}
	for group, options := range defaults() {
		all = append(all,
			admin(http.MethodGet, "/domains/config/"+group+"/default", "get_domain_config_default", func(w http.ResponseWriter, _ *http.Request, _ *identity.Caller) error {
				return wire.JSON(w, http.StatusOK, object{"config": object{group: options}})
			}),
			admin(http.MethodGet, "/domains/config/"+group+"/{option}/default", "get_domain_config_default", func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
				value, there := options[r.PathValue("option")]
				if !there {
					return noConfig(r)
				}
				return wire.JSON(w, http.StatusOK, object{"config": object{r.PathValue("option"): value}})
			}),
		)
	}
	for _, path := range []string{"/domains/{id}/config", "/domains/{id}/config/{group}", "/domains/{id}/config/{group}/{option}"} {
		all = append(all,
			admin(http.MethodGet, path, "get_domain_config", h.showConfig),
			admin(http.MethodPatch, path, "update_domain_config", h.updateConfig),
			admin(http.MethodDelete, path, "delete_domain_config", h.deleteConfig),
		)
	}
	return all
}

func noConfig(r *http.Request) error {
	return fault.Wrap(identity.ErrNotFound, "Could not find group or option in domain configuration for domain %s.", r.PathValue("id"))
}

// readConfig reads {"config": {group: {option: value}}}, and with an option in the path {"config": {option: value}}.
func readConfig(r *http.Request) (map[string]any, error) {
	var b struct {
		Config map[string]any `json:"config"`
	}
	if err := wire.Decode(r, &b); err != nil {
		return nil, err
	}
	if r.PathValue("option") != "" {
		b.Config = map[string]any{r.PathValue("group"): b.Config}
	}
	if len(b.Config) == 0 {
		return nil, fault.Wrap(identity.ErrInvalid, "No options specified")
	}
	for group, options := range b.Config {
		if _, known := defaults()[group]; !known {
			return nil, fault.Wrap(identity.ErrForbidden, "Invalid domain specific configuration: group %s is not supported", group)
		}
		if wanted := r.PathValue("group"); wanted != "" && wanted != group {
			return nil, fault.Wrap(identity.ErrForbidden, "Invalid domain specific configuration: group %s is not the one in the path", group)
		}
		if _, is := options.(map[string]any); !is {
			return nil, fault.Wrap(identity.ErrInvalid, "Invalid input for field '%s': it is not an object", group)
		}
	}
	return b.Config, nil
}

// merged adds the changes to the configuration, option by option.
func merged(config, changes map[string]any) map[string]any {
	all := with(config, nil)
	for group, options := range changes {
		before, _ := all[group].(map[string]any)
		after, _ := options.(map[string]any)
		all[group] = with(before, after)
	}
	return all
}

func (h *handler) createConfig(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	config, err := readConfig(r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if _, err := h.service.Domain(r.Context(), id); err != nil {
		return err
	}
	status := http.StatusOK
	_, err = h.service.UpdateDocument(r.Context(), configKind, id, func(d *identity.Document) error {
		d.Attributes = config
		return nil
	})
	if wire.Status(err) == http.StatusNotFound {
		status = http.StatusCreated
		_, err = h.service.CreateDocument(r.Context(), identity.Document{Kind: configKind, ID: id, Owner: id, Attributes: config})
	}
	if err != nil {
		return err
	}
	return wire.JSON(w, status, object{"config": hidden(config)})
}

// hidden leaves out what is a secret.
func hidden(config map[string]any) map[string]any {
	all := object{}
	for group, options := range config {
		shown, _ := options.(map[string]any)
		shown = with(shown, nil)
		delete(shown, "password")
		all[group] = shown
	}
	return all
}

func (h *handler) showConfig(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	d, err := h.service.Document(r.Context(), configKind, r.PathValue("id"))
	if err != nil {
		return err
	}
	config := hidden(d.Attributes)
	group, option := r.PathValue("group"), r.PathValue("option")
	if group == "" {
		return wire.JSON(w, http.StatusOK, object{"config": config})
	}
	options, there := config[group].(map[string]any)
	if !there {
		return noConfig(r)
	}
	if option == "" {
		return wire.JSON(w, http.StatusOK, object{"config": object{group: options}})
	}
	value, there := options[option]
	if !there {
		return noConfig(r)
	}
	return wire.JSON(w, http.StatusOK, object{"config": object{option: value}})
}

func (h *handler) updateConfig(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	changes, err := readConfig(r)
	if err != nil {
		return err
	}
	d, err := h.service.UpdateDocument(r.Context(), configKind, r.PathValue("id"), func(d *identity.Document) error {
		if group := r.PathValue("group"); group != "" && d.Attributes[group] == nil {
			return noConfig(r)
		}
		d.Attributes = merged(d.Attributes, changes)
		return nil
	})
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"config": hidden(d.Attributes)})
}

func (h *handler) deleteConfig(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	id, group, option := r.PathValue("id"), r.PathValue("group"), r.PathValue("option")
	var err error
	if group == "" {
		err = h.service.DeleteDocument(r.Context(), configKind, id)
	} else {
		_, err = h.service.UpdateDocument(r.Context(), configKind, id, func(d *identity.Document) error {
			options, there := d.Attributes[group].(map[string]any)
			if !there || option != "" && !has(options, option) {
				return noConfig(r)
			}
			if option != "" {
				delete(options, option)
			} else {
				delete(d.Attributes, group)
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	return noContent(w)
}

func has(options map[string]any, option string) bool {
	_, there := options[option]
	return there
}
