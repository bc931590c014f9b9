package volume

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// QoS limits what volumes of some types may do.
type QoS struct {
	ID, Name string
	// Consumer is "front-end", "back-end" or "both".
	Consumer             string
	Specs                map[string]string
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

var qosSpec = record.Spec[QoS]{
	Key:      func(q *QoS) string { return q.ID },
	Revision: func(q *QoS) *int64 { return &q.Revision },
	Claims:   func(q *QoS) []record.Claim { return []record.Claim{{Space: "qos", Value: q.Name}} },
	Event:    func(*QoS) record.Event { return record.Event{Type: "qos_specs"} },
	Columns: []record.Column[QoS]{
		{Name: "name", Value: func(q *QoS) any { return q.Name }},
		{Name: "consumer", Value: func(q *QoS) any { return q.Consumer }},
		{Name: "created", Value: func(q *QoS) any { return q.CreatedAt.UnixMicro() }},
	},
}

var qosKeys = keys{owned: false, texts: map[string]string{
	"id": "id", "name": "name", "consumer": "consumer",
}, numbers: map[string]string{"created_at": "created"}}

const qosPolicy = "volume_extension:qos_specs_manage:"

// CreateQoS makes a set of limits. An empty consumer is "back-end". A name that is taken is [ErrConflict].
func (s *Service) CreateQoS(ctx context.Context, scope Scope, name, consumer string, specs map[string]string) (*QoS, error) {
	if err := mustAdmin(scope, qosPolicy+"create"); err != nil {
		return nil, err
	}
	if consumer == "" {
		consumer = "back-end"
	}
	if err := errors.Join(checkConsumer(consumer), checkKeys(specs)); err != nil {
		return nil, err
	}
	q := &QoS{ID: uuid.NewString(), Name: name, Consumer: consumer, Specs: maps.Clone(specs), CreatedAt: s.now()}
	if q.Specs == nil {
		q.Specs = map[string]string{}
	}
	err := s.store.Update(ctx, func(tx *record.Tx) error { return s.qos.Insert(tx, q) })
	if errors.Is(err, record.ErrDuplicate) {
		return nil, fault.Wrap(ErrConflict, "QoS Specs %s already exists.", name)
	}
	return q, err
}

func checkConsumer(consumer string) error {
	switch consumer {
	case "front-end", "back-end", "both":
		return nil
	}
	return fault.Wrap(ErrInvalid, "Invalid qos specs: Valid consumer of QoS specs are: ['front-end', 'back-end', 'both']")
}

// checkKeys refuses keys and values that Cinder has no room for.
func checkKeys(specs map[string]string) error {
	for key, value := range specs {
		if key == "" || len(key) > 255 {
			return fault.Wrap(ErrInvalid, "Invalid input received: Key name '%.40s' has %d characters: between 1 and 255 are allowed.", key, len(key))
		}
		if len(value) > 255 {
			return fault.Wrap(ErrInvalid, "Invalid input received: Value of '%s' has %d characters, more than 255.", key, len(value))
		}
	}
	return nil
}

// QoS returns a set of limits.
func (s *Service) QoS(ctx context.Context, scope Scope, id string) (*QoS, error) {
	if err := mustAdmin(scope, qosPolicy+"get"); err != nil {
		return nil, err
	}
	return s.findQoS(s.store.Read(ctx), id)
}

func (s *Service) findQoS(tx *record.Tx, id string) (*QoS, error) {
	q, err := s.qos.Get(tx, id)
	if err != nil {
		return nil, notFound(err, "No such QoS spec %s.", id)
	}
	return q, nil
}

// QoSSpecs lists sets of limits.
func (s *Service) QoSSpecs(ctx context.Context, scope Scope, options ListOptions) ([]QoS, error) {
	if err := mustAdmin(scope, qosPolicy+"get_all"); err != nil {
		return nil, err
	}
	return find(s.store.Read(ctx), s.qos, qosKeys, scope, options, nil)
}

func (s *Service) changeQoS(ctx context.Context, id string, change func(q *QoS) error) (*QoS, error) {
	var changed *QoS
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		q, err := s.findQoS(tx, id)
		if err != nil {
			return err
		}
		if err := change(q); err != nil {
			return err
		}
		q.UpdatedAt = s.now()
		changed = q
		return s.qos.Update(tx, q)
	})
	return changed, err
}

// SetQoSKeys adds limits and returns them all. An empty consumer stays as it is.
func (s *Service) SetQoSKeys(ctx context.Context, scope Scope, id string, consumer string, specs map[string]string) (map[string]string, error) {
	if err := mustAdmin(scope, qosPolicy+"update"); err != nil {
		return nil, err
	}
	if err := checkKeys(specs); err != nil {
		return nil, err
	}
	q, err := s.changeQoS(ctx, id, func(q *QoS) error {
		maps.Copy(q.Specs, specs)
		if consumer == "" {
			return nil
		}
		q.Consumer = consumer
		return checkConsumer(consumer)
	})
	if err != nil {
		return nil, err
	}
	return q.Specs, nil
}

// UnsetQoSKeys removes limits: all, or with one that is not there, none ([ErrNotFound]).
func (s *Service) UnsetQoSKeys(ctx context.Context, scope Scope, id string, keys []string) error {
	if err := mustAdmin(scope, qosPolicy+"delete"); err != nil {
		return err
	}
	_, err := s.changeQoS(ctx, id, func(q *QoS) error {
		for _, key := range keys {
			if _, there := q.Specs[key]; !there {
				return fault.Wrap(ErrNotFound, "QoS spec %s has no spec with key %s.", id, key)
			}
			delete(q.Specs, key)
		}
		return nil
	})
	return err
}

// DeleteQoS deletes a set. Types that have it lose it if forced; else it stays ([ErrInvalid]).
func (s *Service) DeleteQoS(ctx context.Context, scope Scope, id string, force bool) error {
	if err := mustAdmin(scope, qosPolicy+"delete"); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.findQoS(tx, id); err != nil {
			return err
		}
		having, err := s.typesWith(tx, id)
		if err != nil {
			return err
		}
		if len(having) > 0 && !force {
			return fault.Wrap(ErrInvalid, "Qos specs still in use.")
		}
		if err := s.looseQoS(tx, having); err != nil {
			return err
		}
		return s.qos.Delete(tx, id)
	})
}

func (s *Service) typesWith(tx *record.Tx, qosID string) ([]Type, error) {
	return s.types.List(tx, record.Query{Where: []record.Condition{record.Eq("qos", qosID)}, Order: []record.Order{{Column: "created"}}})
}

// looseQoS takes their limits away from types.
func (s *Service) looseQoS(tx *record.Tx, types []Type) error {
	for i := range types {
		types[i].QoSID, types[i].UpdatedAt = "", s.now()
		if err := s.types.Update(tx, &types[i]); err != nil {
			return err
		}
	}
	return nil
}

// AssociateQoS gives a type the set. One that has another set is [ErrInvalid].
func (s *Service) AssociateQoS(ctx context.Context, scope Scope, id, typeID string) error {
	return s.changeAssociation(ctx, scope, id, typeID, func(t *Type) error {
		if t.QoSID != "" && t.QoSID != id {
			return fault.Wrap(ErrInvalid, "Invalid volume type: Type %s is already associated with another qos specs: %s", typeID, t.QoSID)
		}
		t.QoSID = id
		return nil
	})
}

// DisassociateQoS takes it away; a type that does not have it stays as it is.
func (s *Service) DisassociateQoS(ctx context.Context, scope Scope, id, typeID string) error {
	return s.changeAssociation(ctx, scope, id, typeID, func(t *Type) error {
		if t.QoSID == id {
			t.QoSID = ""
		}
		return nil
	})
}

func (s *Service) changeAssociation(ctx context.Context, scope Scope, id, typeID string, change func(t *Type) error) error {
	if err := mustAdmin(scope, qosPolicy+"update"); err != nil {
		return err
	}
	if typeID == "" {
		return fault.Wrap(ErrInvalid, "Volume Type id must not be None.")
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.findQoS(tx, id); err != nil {
			return err
		}
		t, err := s.types.Get(tx, typeID)
		if err != nil {
			return notFound(err, "Volume type %s could not be found.", typeID)
		}
		if err := change(t); err != nil {
			return err
		}
		t.UpdatedAt = s.now()
		return s.types.Update(tx, t)
	})
}

// DisassociateAllQoS takes it away from all types.
func (s *Service) DisassociateAllQoS(ctx context.Context, scope Scope, id string) error {
	if err := mustAdmin(scope, qosPolicy+"update"); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.findQoS(tx, id); err != nil {
			return err
		}
		having, err := s.typesWith(tx, id)
		if err != nil {
			return err
		}
		return s.looseQoS(tx, having)
	})
}

// QoSAssociations lists the types that have the set.
func (s *Service) QoSAssociations(ctx context.Context, scope Scope, id string) ([]Type, error) {
	if err := mustAdmin(scope, qosPolicy+"get_all"); err != nil {
		return nil, err
	}
	tx := s.store.Read(ctx)
	if _, err := s.findQoS(tx, id); err != nil {
		return nil, err
	}
	return s.typesWith(tx, id)
}
