package cloudtrail

import "strings"

// AssumedRole returns the ARN of the role that a call of STS is about, read from the member
// in which calls of its name have it; "" if it cannot be read. See
// https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html.
func (e *Event) AssumedRole() string {
	switch e.Name {
	case "AssumeRoot":
		return rootOf(e.RequestParameter("targetPrincipal"), e.Region)
	case "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity":
		if role := e.RequestParameter("roleArn"); role != "" {
			return role
		}
		session, _ := e.Lookup("responseElements", "assumedRoleUser", "arn")
		return roleOfSession(session)
	}
	return e.RequestParameter("roleArn")
}

// rootOf is the ARN of an account's root user in the partition of the region: the
// target of AssumeRoot may be given as the account's id or as that ARN. Any other
// target is itself. See
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoot.html.
func rootOf(target, region string) string {
	if len(target) != 12 || strings.Trim(target, "0123456789") != "" {
		return target
	}
	return "arn:" + partition(region) + ":iam::" + target + ":root"
}

// regionPartitions are the partitions beside aws, by how the names of their regions
// begin: https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json.
var regionPartitions = []struct{ region, partition string }{
	{"cn-", "aws-cn"},
	{"us-gov-", "aws-us-gov"},
	{"us-iso-", "aws-iso"},
	{"us-isob-", "aws-iso-b"},
	{"eu-isoe-", "aws-iso-e"},
	{"us-isof-", "aws-iso-f"},
	{"eusc-", "aws-eusc"},
}

func partition(region string) string {
	for _, p := range regionPartitions {
		if strings.HasPrefix(region, p.region) {
			return p.partition
		}
	}
	return "aws"
}
