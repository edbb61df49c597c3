package checkpointstore

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

// Why the service refused a credential. The reason is in the code of the response
// and in the detail of its body; for a SAS it is often only in the SAS's parameters.

// Codes that azblob has no names for.
const (
	invalidAuthenticationInfo          bloberror.Code = "InvalidAuthenticationInfo"
	ipAuthorizationFailure             bloberror.Code = "IpAuthorizationFailure"
	keyBasedAuthenticationNotPermitted bloberror.Code = "KeyBasedAuthenticationNotPermitted"
	noAuthenticationInformation        bloberror.Code = "NoAuthenticationInformation"
)

// authorizedBy is how a request was authorized.
type authorizedBy int

const (
	anonymously authorizedBy = iota
	bySAS
	byKey
	byToken
)

// authorization is how a request was authorized, with the validity period of its
// SAS, which is not secret.
type authorization struct {
	by             authorizedBy
	starts, expiry string // of the SAS, as it has them; empty without
}

// authorizationOf returns how the request of a response was authorized. If the
// transport did not keep the request, the store's URL shows whether it has a SAS.
func (s *BlobCheckpointStore) authorizationOf(answer *azcore.ResponseError) authorization {
	if answer.RawResponse != nil && answer.RawResponse.Request != nil {
		return authorizationIn(answer.RawResponse.Request)
	}
	u, err := url.Parse(s.client.URL())
	if err != nil {
		return authorization{by: byToken}
	}
	if auth := authorizationIn(&http.Request{URL: u}); auth.by == bySAS {
		return auth
	}
	return authorization{by: byToken}
}

func authorizationIn(req *http.Request) authorization {
	switch header := req.Header.Get("Authorization"); {
	case strings.HasPrefix(header, "SharedKey"):
		return authorization{by: byKey}
	case header != "":
		return authorization{by: byToken}
	case req.URL == nil:
		return authorization{}
	}
	query := req.URL.Query()
	if !query.Has("sig") {
		return authorization{}
	}
	return authorization{by: bySAS, starts: query.Get("st"), expiry: query.Get("se")}
}

// reasonFor explains why a request was refused.
func (s *BlobCheckpointStore) reasonFor(answer *azcore.ResponseError, auth authorization) string {
	if auth.by == bySAS {
		if reason := auth.outOfTime(s.serviceTime(answer)); reason != "" {
			return reason + s.detailOf(answer)
		}
	}
	const firewall = "the account's firewall or network rules do not let this machine in"
	reason := ""
	switch bloberror.Code(answer.ErrorCode) {
	case bloberror.AuthenticationFailed, invalidAuthenticationInfo, noAuthenticationInformation:
		reason = auth.notAuthentic()
	case bloberror.AuthorizationFailure, ipAuthorizationFailure:
		switch message := elementOf(answer, "Message"); {
		case strings.Contains(message, "failed to authenticate"): // Azurite has one code for both
			reason = auth.notAuthentic()
		case message == "" && auth.by != byToken: // a HEAD request, to one or the other
			reason = firewall + ", or " + auth.notAuthentic()
		default:
			reason = firewall
		}
	case bloberror.AuthorizationPermissionMismatch, bloberror.InsufficientAccountPermissions:
		reason = auth.lacksPermission()
	case bloberror.AuthorizationResourceTypeMismatch:
		reason = "the SAS is not for this type of resource (srt takes c and o)"
	case bloberror.AuthorizationServiceMismatch:
		reason = "the SAS is not for the blob service (ss takes b)"
	case bloberror.AuthorizationProtocolMismatch:
		reason = "the SAS does not allow this protocol (spr)"
	case bloberror.AuthorizationSourceIPMismatch:
		reason = "the SAS does not allow this machine's address (sip)"
	case bloberror.AccountIsDisabled:
		reason = "the account is disabled"
	case keyBasedAuthenticationNotPermitted:
		reason = "the account allows no account keys: use a token credential"
	default:
		reason = auth.notAuthentic()
		if auth.by != anonymously {
			reason += ", or " + auth.lacksPermission()
		}
	}
	return reason + s.detailOf(answer)
}

func (a authorization) notAuthentic() string {
	switch a.by {
	case byKey:
		return "the account key does not match, or this machine's clock is wrong"
	case bySAS:
		return "the SAS's signature does not match: it was cut or changed, or made with another key"
	case byToken:
		return "the token was not accepted: check its tenant and audience"
	}
	return "the request had no credential and the container allows no anonymous access: use a credential or a SAS"
}

func (a authorization) lacksPermission() string {
	switch a.by {
	case bySAS:
		return "the SAS lacks a permission"
	case byToken:
		return "the identity lacks a permission"
	}
	return "the credential lacks a permission"
}

// outOfTime says that a SAS is not valid at a time. It is empty if the SAS is
// valid.
func (a authorization) outOfTime(now time.Time) string {
	if t, ok := sasTime(a.expiry); ok && !now.Before(t) {
		return "the SAS expired at " + t.Format(time.RFC3339)
	}
	if t, ok := sasTime(a.starts); ok && now.Before(t) {
		return "the SAS is not valid before " + t.Format(time.RFC3339)
	}
	return ""
}

// sasTime parses a time of a SAS, in any form that the service accepts.
func sasTime(text string) (time.Time, bool) {
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// serviceTime is the service's time in a response, or the local time.
func (s *BlobCheckpointStore) serviceTime(answer *azcore.ResponseError) time.Time {
	if answer.RawResponse != nil {
		if t, err := http.ParseTime(answer.RawResponse.Header.Get("Date")); err == nil {
			return t
		}
	}
	return s.now()
}

// elementOf returns the text of an element in the body of a refusal.
func elementOf(answer *azcore.ResponseError, name string) string {
	if answer.RawResponse == nil || answer.RawResponse.Body == nil {
		return ""
	}
	body, err := runtime.Payload(answer.RawResponse)
	if err != nil {
		return ""
	}
	_, text, _ := strings.Cut(string(body), "<"+name+">")
	text, _, _ = strings.Cut(text, "</"+name+">")
	return html.UnescapeString(text)
}

// detailOf returns the detail in the body of a refusal, without secrets and without
// the text that was signed.
func (s *BlobCheckpointStore) detailOf(answer *azcore.ResponseError) string {
	const max = 300
	detail := elementOf(answer, "AuthenticationErrorDetail")
	for _, signed := range [...]string{"Server used following string to sign", "String to sign used was"} {
		detail, _, _ = strings.Cut(detail, signed)
	}
	detail = oneLine(s.secrets().Text(detail))
	if len(detail) > max {
		detail = strings.ToValidUTF8(detail[:max], "") + "…"
	}
	if detail == "" {
		return ""
	}
	return fmt.Sprintf(" (the service says: %s)", strings.TrimSuffix(detail, "."))
}
