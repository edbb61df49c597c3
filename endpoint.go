package checkpointstore

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// The checks of a container's URL and name and of an account's connection string.
// The constructors refuse what cannot work, and say what to give instead. No error
// repeats a query, a path or a connection string.

const urlForm = "https://<account>.blob.core.windows.net/<container>"

// parseURL checks the URL of a container.
func parseURL(containerURL string) (*url.URL, error) {
	u, err := url.Parse(containerURL)
	switch {
	case err != nil:
		return nil, invalidConstruction("the container URL cannot be parsed; it looks like " + urlForm)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, invalidConstruction("the container URL does not begin with https:// or http://")
	case u.Host == "":
		return nil, invalidConstruction("the container URL has no host")
	case strings.ContainsFunc(containerURL, unicode.IsSpace):
		return nil, invalidConstruction("the container URL has a space in it; it looks like " + urlForm)
	case u.Fragment != "", strings.ContainsAny(u.Host, "&=;"), strings.ContainsAny(u.Path, "?&=;%@"):
		return nil, invalidConstruction("the container URL has characters that no account and no container has: a SAS begins with a question mark")
	case u.User != nil:
		return nil, invalidConstruction("the container URL has a user name in it")
	}
	if err := checkAzureHost("the container URL", u.Host); err != nil {
		return nil, invalidConstruction(err.Error())
	}
	return u, checkContainerPath(u)
}

// azureHost finds the service in the name of a host of Azure Storage, in all of
// Azure's clouds: <account>.blob.core.windows.net and the like, or, for accounts
// with a DNS zone, <account>.z01.blob.storage.azure.net. Event Hubs namespaces are
// <namespace>.servicebus.windows.net and the like.
var azureHost = regexp.MustCompile(`(?i)^(.*?)(?:^|\.)(?:(blob|dfs|queue|table|file|web)\.(core\.` + cloudDomain + `|storage\.azure)|servicebus\.` + cloudDomain + `)(\..+)$`)

const cloudDomain = `(?:windows|[a-z]*cloudapi|sovcloud-api|eaglex|microsoft)`

// checkAzureHost refuses the hosts of Azure's services other than blobs, and
// those that lack the account. It lets pass what it does not know: emulators,
// custom domains, private clouds.
func checkAzureHost(what, host string) error {
	if strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return fmt.Errorf("%s names no account in its host, <account>.blob.core.windows.net", what)
	}
	m := azureHost.FindStringSubmatch(host)
	if m == nil {
		return nil
	}
	account, service, domain := m[1], strings.ToLower(m[2]), m[3]+m[4]
	switch {
	case service == "":
		return fmt.Errorf("%s names an Event Hubs namespace; give the blob endpoint of a storage account, <account>.blob.core.windows.net", what)
	case account == "":
		return fmt.Errorf("%s names no account in its host, <account>.blob.core.windows.net", what)
	case service == "blob":
		return nil
	case service == "web" && !strings.HasPrefix(strings.ToLower(domain), "storage."):
		account = websiteZone.ReplaceAllString(account, "") // the account's other endpoints have none
	}
	return fmt.Errorf("%s names the account's %s endpoint; give its blob endpoint, %s.blob.%s", what, service, account, domain)
}

var websiteZone = regexp.MustCompile(`(?i)\.z[0-9]+$`)

// pathAccount is the account in the path of an emulator's URL, as in
// http://127.0.0.1:10000/devstoreaccount1/container.
var pathAccount = regexp.MustCompile(`^[a-z0-9]{3,24}(-secondary)?$`)

// checkContainerPath refuses a path that is not that of a container: one segment
// on Azure, and elsewhere also an account before it. Emulators put the account
// there, and they may have any host name.
func checkContainerPath(u *url.URL) error {
	path := strings.TrimRight(strings.TrimPrefix(u.Path, "/"), "/")
	if path == "" {
		return invalidConstruction(fmt.Sprintf("the container URL has no container: https://%s/<container>", u.Host))
	}
	segments := strings.Split(path, "/")
	name := segments[len(segments)-1]
	onAzure := azureHost.MatchString(u.Host)
	switch {
	case slices.Contains(segments, ""):
		return invalidConstruction(fmt.Sprintf("the container URL has two slashes in a row in its path; give %s://%s/<container>", u.Scheme, u.Host))
	case len(segments) == 2 && !onAzure && pathAccount.MatchString(segments[0]):
	case len(segments) > 1:
		return invalidConstruction(fmt.Sprintf("the container URL has a path below the container; give %s://%s/<container>", u.Scheme, u.Host))
	}
	return checkContainerName(name, 1)
}

// minContainerName is the service's rule. A URL may have a shorter name, which
// is left to the service to judge: emulators take it.
const minContainerName = 3

// containerName is the service's rule for the letters of a name ("Naming and
// Referencing Containers, Blobs, and Metadata"). Of the special names, $web holds
// blobs as any other does.
var containerName = regexp.MustCompile(`^([a-z0-9](-?[a-z0-9])*|\$web)$`)

func checkContainerName(name string, shortest int) error {
	const rule = "it takes 3 to 63 lower-case letters, digits and single hyphens"
	if kind := layout.CredentialIn(name); kind != "" {
		return invalidConstruction("container name: " + rule + "; this looks like " + kind)
	}
	switch {
	case name == "$root":
		return invalidConstruction("container name \"$root\": its blobs cannot have slashes in their names, which the records need; give a container of your own")
	case name == "$logs", name == "$blobchangefeed":
		return invalidConstruction("container name " + layout.Quote(name) + ": only the service writes to it; give a container of your own")
	case len(name) > 63 || strings.ContainsAny(name, "=;&?"): // a connection string, a SAS, a key
		return invalidConstruction("container name: " + rule)
	case len(name) < shortest || !containerName.MatchString(name):
		return invalidConstruction("container name " + layout.Quote(name) + ": " + rule)
	}
	return nil
}

// developmentStorage is the connection string that Azurite documents; the key is
// the same everywhere and protects nothing.
const developmentStorage = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;" +
	"AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;" +
	"BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1"

// parseConnectionString checks the connection string of a storage account as far
// as azblob does not, and returns it without what surrounds it: semicolons, and
// the line end of a file.
func parseConnectionString(connectionString string) (string, error) {
	const give = "give that of the storage account: DefaultEndpointsProtocol=https;AccountName=<account>;AccountKey=<key>;EndpointSuffix=core.windows.net"
	s := strings.TrimRight(strings.TrimSpace(connectionString), "; \t\r\n")
	lower := strings.ToLower(s)
	switch {
	case s == "":
		return "", invalidConstruction("the connection string is empty; " + give)
	case lower == "usedevelopmentstorage=true":
		return developmentStorage, nil
	case strings.Contains(lower, "endpoint=sb://"), strings.Contains(lower, "sharedaccesskey"):
		return "", invalidConstruction("this is an Event Hubs connection string; " + give)
	case strings.HasPrefix(lower, "https://"), strings.HasPrefix(lower, "http://"):
		return "", invalidConstruction("this is a URL, not a connection string; use NewBlobCheckpointStoreWithNoCredential for the URL of a container with a SAS, " +
			"NewBlobCheckpointStoreWithTokenCredential or NewBlobCheckpointStoreWithSharedKeyCredential for one without, or " + give)
	case !strings.Contains(s, ";") && strings.Contains(lower, "sig="):
		return "", invalidConstruction("this is a shared access signature, not a connection string; put it after the container's URL and a question mark for NewBlobCheckpointStoreWithNoCredential, or " +
			give)
	}
	for part := range strings.SplitSeq(s, ";") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "DefaultEndpointsProtocol", "AccountName", "AccountKey", "EndpointSuffix", "BlobEndpoint", "SharedAccessSignature":
			if strings.TrimSpace(value) == "" {
				return "", invalidConstruction("the connection string has an empty " + name + "; " + give)
			}
		}
		if name == "SharedAccessSignature" && strings.HasPrefix(value, "?") {
			return "", invalidConstruction("the SharedAccessSignature of the connection string begins with a question mark: leave it out")
		}
	}
	return s, nil
}

func invalidConstruction(detail string) error {
	return &Error{Op: "new store", Kind: ErrInvalidArgument, Detail: detail}
}
