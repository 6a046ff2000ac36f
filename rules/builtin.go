package rules

// A Spec is a rule that can be configured: its ID, and how to make it.
type Spec struct {
	ID string
	// New returns the rule with its defaults: a pointer to a struct. The exported fields of
	// the struct are the rule's parameters.
	//
	//	Threshold int64 `param:"threshold,alert" help:"denials that make an alert"`
	//
	// The first part of param is the name in the configuration; "alert" shows
	// the value in the alert's "parameters". Fields are of type bool, int,
	// int64, string, []string or time.Duration. A tag one:"fixed sliding" lists
	// the words that a string may be, and range:"1..9" the bounds of a number or
	// duration: the configuration and its schema refuse any other.
	New func() Rule
}

// Builtin lists the rules of this program. A rule of one's own is one file
// beside access_denied.go, and one line here.
func Builtin() []Spec {
	return []Spec{
		{ID: AccessDeniedID, New: func() Rule { return NewAccessDenied() }},
		{ID: AssumeRoleUniqueIPID, New: func() Rule { return NewAssumeRoleUniqueIP() }},
	}
}
