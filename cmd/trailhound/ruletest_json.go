package main

import "trailhound/rules/ruletest"

// tested is a test, or a file that has mistakes, as rules test prints it in JSON.
type tested struct {
	File    string   `json:"file"`
	Line    int      `json:"line"` // 0: of a file
	Test    string   `json:"test"`
	Result  string   `json:"result"`  // pass, fail or mistakes
	Details []string `json:"details"` // lines of text: the failure, or each mistake
}

func testedRule(path string, test *ruletest.Test, failure *ruletest.Failure) tested {
	out := tested{File: path, Line: test.Line, Test: test.Name, Result: "pass", Details: []string{}}
	if failure != nil {
		out.Result, out.Details = "fail", failure.Lines()
	}
	return out
}
