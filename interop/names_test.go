package interop_test

import "strings"

// scope is the names that a consumer is configured with, as typed.
type scope struct{ namespace, hub, group string }

const (
	lowerNamespace = "mynamespace.servicebus.windows.net"
	mixedNamespace = "MyNamespace.servicebus.windows.net"
)

// String leaves the domain out.
func (s scope) String() string {
	name, _, _ := strings.Cut(s.namespace, ".")
	return name + "…/" + s.hub + "/" + s.group
}

// blob returns the name of a blob in exactly this spelling.
func (s scope) blob(kind, partition string) string {
	return s.namespace + "/" + s.hub + "/" + s.group + "/" + kind + "/" + partition
}

// The spellings of a scope that SDKs use.

func lower(s scope) scope {
	return scope{strings.ToLower(s.namespace), strings.ToLower(s.hub), strings.ToLower(s.group)}
}

func typed(s scope) scope { return s }

func lowerGroup(s scope) scope { return scope{s.namespace, s.hub, strings.ToLower(s.group)} }

// lowerCase returns names that every SDK spells in the same way.
func lowerCase() scope { return scope{lowerNamespace, "myhub", "mygroup"} }

// capitals returns names with a capital in each.
func capitals() scope { return scope{mixedNamespace, "MyHub", "$Default"} }

// scopes returns names in lower case, with a capital in one of them, and with a capital in each.
func scopes() []scope {
	return []scope{
		lowerCase(),
		{lowerNamespace, "myhub", "$Default"},
		{lowerNamespace, "MyHub", "mygroup"},
		{mixedNamespace, "myhub", "mygroup"},
		capitals(),
	}
}
