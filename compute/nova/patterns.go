package nova

import "regexp"

// Patterns of the API's texts. Schemas are made for each request, which is no time to compile them.
var (
	dashed        = regexp.MustCompile(`^[a-zA-Z0-9-]*$`)
	decimal       = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	deviceName    = regexp.MustCompile(`(^/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*$`)
	devicePath    = regexp.MustCompile(`^[a-zA-Z0-9._/-]*$`)
	digits        = regexp.MustCompile(`^[0-9]+$`)
	domainName    = regexp.MustCompile(`^[a-zA-Z0-9-._]*$`)
	flavorID      = regexp.MustCompile(`^[a-zA-Z0-9 ._-]+$`)
	hostLabel     = regexp.MustCompile(`^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$`)
	imageName     = regexp.MustCompile(`^[a-zA-Z0-9._-]*$`)
	integerDigits = regexp.MustCompile(`^-?[0-9]+$`)
	keyName       = regexp.MustCompile(`^[_\-\@\. a-zA-Z0-9]+$`)
	metadataKey   = regexp.MustCompile(`^[a-zA-Z0-9-_:. ]{1,255}$`)
	nothing       = regexp.MustCompile(`^$`)
	oldKeyName    = regexp.MustCompile(`^[_\- a-zA-Z0-9]+$`)
	tagText       = regexp.MustCompile(`^[^,/]*$`)
)
