package match_test

import (
	"fmt"

	yaml "go.yaml.in/yaml/v3"

	"trailhound/rules/cloudtrail"
	"trailhound/rules/match"
)

// Many selections are asked at once: the index evaluates those that an event may match.
func ExampleIndex() {
	var exprs []*match.Expr
	for _, where := range []string{
		`{eventName: ConsoleLogin, responseElements.ConsoleLogin: Failure}`,
		`{eventSource: s3.amazonaws.com, eventName: ["Delete*", "PutBucketPolicy"]}`,
		`{resources.ARN|endswith: ":secret", not: {userIdentity.type: AWSService}}`,
	} {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(where), &n); err != nil {
			fmt.Println(err)
			return
		}
		x, _, err := match.Parse(&n, match.Options{})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("found by:", x.Witness())
		exprs = append(exprs, x)
	}
	index := match.NewIndex(exprs)

	var scratch match.Scratch
	record := `{"eventVersion":"1.08","eventTime":"2026-03-01T10:00:00Z","eventSource":"s3.amazonaws.com",
		"eventName":"DeleteObject","resources":[{"ARN":"arn:aws:s3:::b/public"},{"ARN":"arn:aws:s3:::b:secret"}]}`
	cloudtrail.Decode([]byte(record), func(e *cloudtrail.Event, err error) bool {
		fmt.Println("matched:", index.Match(e, &scratch), err)
		return true
	})
	// Output:
	// found by: eventName is CONSOLELOGIN
	// found by: eventSource is S3.AMAZONAWS.COM
	// found by: every event
	// matched: [1 2] <nil>
}
