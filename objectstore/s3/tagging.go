package s3

import (
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/kintoun/kintoun/objectstore"
)

// How many tags there may be, and how long, in characters ("Categorizing your storage using tags").
const (
	maxObjectTags  = 10
	maxBucketTags  = 50
	maxTagKey      = 128
	maxTagValue    = 256
	bucketTagsName = "tagging"
)

type tag struct{ Key, Value string }

type tagging struct {
	XMLName   xml.Name `xml:"Tagging"`
	Namespace string   `xml:"xmlns,attr,omitempty"`
	Tags      []tag    `xml:"TagSet>Tag"`
}

func checkTags(tags []tag, most int) (map[string]string, error) {
	if len(tags) > most {
		return nil, fail("InvalidTag", "There may be %d tags.", most)
	}
	set := map[string]string{}
	for _, t := range tags {
		if _, twice := set[t.Key]; twice {
			return nil, fail("InvalidTag", "Cannot provide multiple Tags with the same key").with("TagKey", t.Key)
		}
		if n := utf8.RuneCountInString(t.Key); n == 0 || n > maxTagKey || !utf8.ValidString(t.Key) {
			return nil, fail("InvalidTag", "The TagKey you have provided is invalid").with("TagKey", t.Key)
		}
		if utf8.RuneCountInString(t.Value) > maxTagValue || !utf8.ValidString(t.Value) {
			return nil, fail("InvalidTag", "The TagValue you have provided is invalid").with("TagKey", t.Key)
		}
		set[t.Key] = t.Value
	}
	return set, nil
}

// parseTags reads the header's tags, encoded as a query.
func parseTags(text string) (map[string]string, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, fail("InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.").
			with("ArgumentName", "x-amz-tagging")
	}
	var tags []tag
	for key, all := range values {
		for _, value := range all {
			tags = append(tags, tag{key, value})
		}
	}
	return checkTags(tags, maxObjectTags)
}

func tagDocument(set map[string]string) tagging {
	t := tagging{Namespace: namespace}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		t.Tags = append(t.Tags, tag{key, set[key]})
	}
	return t
}

func (a *api) getTagging(q *request) error {
	spec := objectstore.OpenSpec{}
	var err error
	if spec.Version, spec.NullVersion, err = versionOf(q.query); err != nil {
		return err
	}
	o, err := a.objects.Open(q.Context(), q.caller, q.path, spec)
	if err != nil {
		return missing(err, q)
	}
	if o.Object.Version != "" {
		q.w.Header().Set("X-Amz-Version-Id", o.Object.Version)
	}
	return writeXML(q.w, http.StatusOK, tagDocument(o.Object.Tags))
}

func (a *api) putTagging(q *request) error {
	var t tagging
	if err := q.xml(&t); err != nil {
		return err
	}
	set, err := checkTags(t.Tags, maxObjectTags)
	if err != nil {
		return err
	}
	return a.setTags(q, set, http.StatusOK)
}

func (a *api) deleteTagging(q *request) error { return a.setTags(q, nil, http.StatusNoContent) }

func (a *api) setTags(q *request, set map[string]string, status int) error {
	version, null, err := versionOf(q.query)
	if err != nil {
		return err
	}
	if null {
		version = nullVersion
	}
	o, err := a.objects.Update(q.Context(), q.caller, q.path, version, func(info *objectstore.ObjectInfo) error {
		info.Tags = set
		return nil
	})
	if err != nil {
		return missing(err, q)
	}
	if o.Version != "" {
		q.w.Header().Set("X-Amz-Version-Id", o.Version)
	}
	q.w.WriteHeader(status)
	return nil
}

func (a *api) getBucketTagging(q *request) error {
	c, err := a.objects.Container(q.Context(), q.caller, q.bucket())
	if err != nil {
		return err
	}
	text := c.Documents[bucketTagsName]
	if text == "" {
		return fail("NoSuchTagSet", "The TagSet does not exist").with("BucketName", q.path.Container)
	}
	return writeRaw(q.w, http.StatusOK, text)
}

func (a *api) putBucketTagging(q *request) error {
	var t tagging
	if err := q.xml(&t); err != nil {
		return err
	}
	set, err := checkTags(t.Tags, maxBucketTags)
	if err != nil {
		return err
	}
	return a.setDocument(q, bucketTagsName, tagDocument(set), http.StatusNoContent)
}

func (a *api) deleteBucketTagging(q *request) error {
	return a.setDocument(q, bucketTagsName, nil, http.StatusNoContent)
}

// setDocument keeps what v says with the bucket, or forgets it if v is nil.
func (a *api) setDocument(q *request, name string, v any, status int) error {
	text := ""
	if v != nil {
		data, err := xml.Marshal(v)
		if err != nil {
			return err
		}
		text = string(data)
	}
	return a.change(q, status, func(s *objectstore.Settings) error {
		documents := maps.Clone(s.Documents)
		if documents == nil {
			documents = map[string]string{}
		}
		if documents[name] = text; text == "" {
			delete(documents, name)
		}
		s.Documents = documents
		return nil
	})
}
