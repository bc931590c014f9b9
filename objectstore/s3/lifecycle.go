package s3

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/kintoun/kintoun/objectstore"
)

// maxRules is how many rules a lifecycle or a CORS document may have: S3's are 1000 and 100.
const maxRules = 1000

type lifecycle struct {
	XMLName   xml.Name        `xml:"LifecycleConfiguration"`
	Namespace string          `xml:"xmlns,attr,omitempty"`
	Rules     []lifecycleRule `xml:"Rule"`
}

type lifecycleRule struct {
	ID         string           `xml:",omitempty"`
	Prefix     *string          // as documents had it before there were filters
	Filter     *lifecycleFilter `xml:",omitempty"`
	Status     string
	Expiration *expiration `xml:",omitempty"`
	Noncurrent *struct {
		Days  int      `xml:"NoncurrentDays"`
		Newer *element `xml:"NewerNoncurrentVersions"`
	} `xml:"NoncurrentVersionExpiration"`
	Abort *struct {
		Days int `xml:"DaysAfterInitiation"`
	} `xml:"AbortIncompleteMultipartUpload"`
	// What is not done is refused.
	Transition           []element
	NoncurrentTransition []element `xml:"NoncurrentVersionTransition"`
}

type element struct {
	Content string `xml:",innerxml"`
}

type lifecycleFilter struct {
	Prefix  *string
	Tag     *tag
	And     *lifecycleAnd
	Greater *element `xml:"ObjectSizeGreaterThan"`
	Less    *element `xml:"ObjectSizeLessThan"`
}

type lifecycleAnd struct {
	Prefix  string   `xml:",omitempty"`
	Tags    []tag    `xml:"Tag"`
	Greater *element `xml:"ObjectSizeGreaterThan"`
	Less    *element `xml:"ObjectSizeLessThan"`
}

type expiration struct {
	Days    int    `xml:",omitempty"`
	Date    string `xml:",omitempty"`
	Markers bool   `xml:"ExpiredObjectDeleteMarker,omitempty"`
}

// rule reads a rule of a document.
func (r *lifecycleRule) rule() (rule objectstore.LifecycleRule, err error) {
	rule.ID = r.ID
	switch r.Status {
	case "Enabled":
	case "Disabled":
		rule.Disabled = true
	default:
		return rule, fail("MalformedXML", "The status of a rule is Enabled or Disabled.")
	}
	if len(r.Transition) > 0 || len(r.NoncurrentTransition) > 0 {
		return rule, fail("NotImplemented", "There is one storage class: objects have no transitions.")
	}
	if err := r.filter(&rule); err != nil {
		return rule, err
	}
	if e := r.Expiration; e != nil {
		if rule.Days, rule.DeletedMarkers = e.Days, e.Markers; e.Date != "" {
			if rule.Date, err = time.Parse(time.RFC3339, e.Date); err != nil || !rule.Date.Equal(rule.Date.Truncate(24*time.Hour)) {
				return rule, fail("InvalidArgument", "'Date' must be at midnight GMT")
			}
		}
		if e.Days < 0 || (e.Days > 0) == (e.Date != "") && !e.Markers {
			return rule, fail("InvalidArgument", "'Days' for Expiration action must be a positive integer, or there is a 'Date'")
		}
	}
	if n := r.Noncurrent; n != nil {
		if rule.NoncurrentDays = n.Days; n.Days < 1 {
			return rule, fail("InvalidArgument", "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer")
		}
		if n.Newer != nil {
			return rule, fail("NotImplemented", "NewerNoncurrentVersions is not implemented.")
		}
	}
	if r.Abort != nil {
		if rule.AbortDays = r.Abort.Days; rule.AbortDays < 1 {
			return rule, fail("InvalidArgument", "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer")
		}
	}
	if r.Expiration == nil && r.Noncurrent == nil && r.Abort == nil {
		return rule, fail("InvalidRequest", "At least one action needs to be specified in a rule")
	}
	return rule, nil
}

func (r *lifecycleRule) filter(rule *objectstore.LifecycleRule) error {
	if r.Prefix != nil {
		if rule.Prefix = *r.Prefix; r.Filter != nil {
			return fail("MalformedXML", "A rule has a Filter or a Prefix.")
		}
	}
	f := r.Filter
	if f == nil {
		return nil
	}
	if f.Greater != nil || f.Less != nil || f.And != nil && (f.And.Greater != nil || f.And.Less != nil) {
		return fail("NotImplemented", "Rules cannot tell objects by their size.")
	}
	var tags []tag
	if f.Prefix != nil {
		rule.Prefix = *f.Prefix
	}
	if f.Tag != nil {
		tags = []tag{*f.Tag}
	}
	if f.And != nil {
		rule.Prefix, tags = f.And.Prefix, f.And.Tags
	}
	set, err := checkTags(tags, maxObjectTags)
	if len(set) > 0 {
		rule.Tags = set
	}
	return err
}

// document writes a rule as GET answers it.
func document(rule *objectstore.LifecycleRule) lifecycleRule {
	r := lifecycleRule{ID: rule.ID, Status: "Enabled", Filter: &lifecycleFilter{}}
	if rule.Disabled {
		r.Status = "Disabled"
	}
	var tags []tag
	for _, key := range slices.Sorted(maps.Keys(rule.Tags)) {
		tags = append(tags, tag{key, rule.Tags[key]})
	}
	switch {
	case len(tags) == 0:
		r.Filter.Prefix = &rule.Prefix
	case len(tags) == 1 && rule.Prefix == "":
		r.Filter.Tag = &tags[0]
	default:
		r.Filter.And = &lifecycleAnd{Prefix: rule.Prefix, Tags: tags}
	}
	if rule.Days > 0 || !rule.Date.IsZero() || rule.DeletedMarkers {
		r.Expiration = &expiration{Days: rule.Days, Markers: rule.DeletedMarkers}
		if !rule.Date.IsZero() {
			r.Expiration.Date = rule.Date.UTC().Format("2006-01-02T15:04:05.000Z")
		}
	}
	if rule.NoncurrentDays > 0 {
		r.Noncurrent = &struct {
			Days  int      `xml:"NoncurrentDays"`
			Newer *element `xml:"NewerNoncurrentVersions"`
		}{Days: rule.NoncurrentDays}
	}
	if rule.AbortDays > 0 {
		r.Abort = &struct {
			Days int `xml:"DaysAfterInitiation"`
		}{rule.AbortDays}
	}
	return r
}

func (a *api) getLifecycle(q *request) error {
	c, err := a.objects.Container(q.Context(), q.caller, q.bucket())
	if err != nil {
		return err
	}
	if len(c.Lifecycle) == 0 {
		return fail("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist").with("BucketName", q.path.Container)
	}
	answer := lifecycle{Namespace: namespace}
	for i := range c.Lifecycle {
		answer.Rules = append(answer.Rules, document(&c.Lifecycle[i]))
	}
	return writeXML(q.w, http.StatusOK, answer)
}

func (a *api) putLifecycle(q *request) error {
	var wish lifecycle
	if err := q.xml(&wish); err != nil {
		return err
	}
	if n := len(wish.Rules); n == 0 || n > maxRules {
		return fail("MalformedXML", "A lifecycle configuration has one to %d rules.", maxRules)
	}
	var rules []objectstore.LifecycleRule
	seen := map[string]bool{}
	for i := range wish.Rules {
		rule, err := wish.Rules[i].rule()
		if err != nil {
			return err
		}
		if rule.ID == "" {
			rule.ID = newRuleID()
		}
		if seen[rule.ID] {
			return fail("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule").with("ArgumentName", "ID").with("ArgumentValue", rule.ID)
		}
		seen[rule.ID] = true
		rules = append(rules, rule)
	}
	return a.change(q, http.StatusOK, func(s *objectstore.Settings) error {
		s.Lifecycle = rules
		return nil
	})
}

func newRuleID() string {
	var raw [12]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}

func (a *api) deleteLifecycle(q *request) error {
	return a.change(q, http.StatusNoContent, func(s *objectstore.Settings) error {
		s.Lifecycle = nil
		return nil
	})
}
