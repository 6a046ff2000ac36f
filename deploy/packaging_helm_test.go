package deploy_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

const packChart = "helm/trailhound"

// packKube is the Kubernetes that the chart is rendered for.
const packKube = "1.33.0"

// packHelm finds helm: in the path, or where CI keeps it.
func packHelm(t *testing.T) string {
	t.Helper()
	if helm, err := exec.LookPath("helm"); err == nil {
		return helm
	}
	cache, err := os.UserCacheDir()
	if err == nil {
		helm := filepath.Join(cache, "trailhound", "bin", "helm")
		if _, err = os.Stat(helm); err == nil {
			return helm
		}
	}
	packSkip(t, "no helm here: the chart's values are checked, its templates are not")
	return ""
}

// packValues are the files of values that the chart is rendered with; "" are its own.
func packValues(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(packChart + "/ci/*-values.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("files of values in ci: %q, %v; want several", files, err)
	}
	return append(files, "")
}

// packRender runs helm template and returns the objects by their kind.
func packRender(t *testing.T, helm string, args ...string) map[string]map[string]any {
	t.Helper()
	out, err := exec.Command(helm, append([]string{"template", "r", packChart, "--kube-version", packKube}, args...)...).Output()
	if err != nil {
		t.Fatalf("helm template %q: %v", args, packStderr(err))
	}
	objects := map[string]map[string]any{}
	for d := yaml.NewDecoder(bytes.NewReader(out)); ; {
		var o map[string]any
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatalf("helm template %q: %v", args, err)
		}
		if kind, ok := o["kind"].(string); ok {
			objects[kind] = o
		}
	}
}

func packStderr(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return err.Error()
}

func TestPackChart(t *testing.T) {
	helm := packHelm(t)
	for _, file := range packValues(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var args []string
			if file != "" {
				args = []string{"-f", file}
			}
			if out, err := exec.Command(helm, append([]string{"lint", "--strict", "--kube-version", packKube, packChart}, args...)...).CombinedOutput(); err != nil {
				t.Errorf("helm lint: %v\n%s", err, out)
			}
			objects := packRender(t, helm, args...)
			set := objects["StatefulSet"]
			packWant(t, "StatefulSet", set, `"Parallel"`, "spec", "podManagementPolicy")
			pod := packAt(set, "spec", "template", "spec")
			packCheckPod(t, pod)
			packCheckConfig(t, objects, pod)
			name := packAt(set, "metadata", "name")
			if service := packAt(objects["Service"], "metadata", "name"); service != name || packAt(set, "spec", "serviceName") != name {
				t.Errorf("the Service is %v, the StatefulSet %v of service %v; want one name", service, name, packAt(set, "spec", "serviceName"))
			}
			want, err := json.Marshal(packAt(set, "spec", "selector", "matchLabels"))
			if err != nil {
				t.Fatal(err)
			}
			packWant(t, "Service", objects["Service"], string(want), "spec", "selector")
			for label, value := range packAt(set, "spec", "selector", "matchLabels").(map[string]any) {
				packWant(t, "pod", set, fmt.Sprintf("%q", value), "spec", "template", "metadata", "labels", label)
			}
		})
	}
}

// packCheckPod checks a pod against the restricted profile of the Pod Security Standards, and its probes.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
func packCheckPod(t *testing.T, pod any) {
	t.Helper()
	packWant(t, "pod", pod, "true", "securityContext", "runAsNonRoot")
	packWant(t, "pod", pod, "65532", "securityContext", "runAsUser")
	packWant(t, "pod", pod, `"RuntimeDefault"`, "securityContext", "seccompProfile", "type")
	packWant(t, "pod", pod, "false", "enableServiceLinks")
	packWant(t, "pod", pod, "false", "automountServiceAccountToken")
	container := packAt(pod, "containers", 0)
	packWant(t, "container", container, `{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"readOnlyRootFilesystem":true}`, "securityContext")
	for probe, path := range map[string]string{"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"} {
		packWant(t, probe, container, fmt.Sprintf(`{"path":%q,"port":"http"}`, path), probe, "httpGet")
	}
	mounts, _ := packAt(container, "volumeMounts").([]any)
	var writable []string
	for _, m := range mounts {
		if packAt(m, "readOnly") != true {
			writable = append(writable, packAt(m, "mountPath").(string))
		}
	}
	if want := []string{"/var/lib/trailhound", "/tmp"}; !slices.Equal(writable, want) {
		t.Errorf("the container can write to %q; want %q", writable, want)
	}
}

// packCheckConfig settles the configuration of a pod from its file and variables, as the program in it does.
func packCheckConfig(t *testing.T, objects map[string]map[string]any, pod any) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trailhound.yaml")
	text, _ := packAt(objects["ConfigMap"], "data", "trailhound.yaml").(string)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var environment []string
	variables, _ := packAt(pod, "containers", 0, "env").([]any)
	for _, v := range variables {
		name, value := packAt(v, "name"), packAt(v, "value")
		switch field := packAt(v, "valueFrom", "fieldRef", "fieldPath"); {
		case field == "metadata.name":
			value = "r-trailhound-0"
		case value == nil:
			value = "from-a-secret"
		}
		environment = append(environment, fmt.Sprintf("%v=%v", name, value))
	}
	c, err := packConfig(file, environment)
	if err != nil {
		t.Errorf("the pod's configuration\n%s\nwith %q: %v", text, environment, err)
		return
	}
	if c.InstanceID != "r-trailhound-0" {
		t.Errorf("instance_id is %q; want the pod's name", c.InstanceID)
	}
	port := packAt(pod, "containers", 0, "ports", 0, "containerPort")
	if want := fmt.Sprintf(":%v", port); c.HTTP.Listen != want {
		t.Errorf("http.listen is %q; want %q, where probes look", c.HTTP.Listen, want)
	}
	if !strings.HasPrefix(c.StateDir, "/var/lib/trailhound/") {
		t.Errorf("state_dir is %q; want it on the volume", c.StateDir)
	}
	if policy := objects["NetworkPolicy"]; policy != nil {
		rules, _ := json.Marshal(packAt(policy, "spec", "egress"))
		for _, broker := range c.Kafka.Brokers {
			port := broker[strings.LastIndex(broker, ":")+1:]
			if !strings.Contains(string(rules), `{"port":`+port+`,"protocol":"TCP"}`) {
				t.Errorf("the NetworkPolicy lets out %s; want port %s of %s among them", rules, port, broker)
			}
		}
	}
}

func TestPackChartRefuses(t *testing.T) {
	helm := packHelm(t)
	for set, want := range map[string]string{
		"config.instance_id=a":                   "config.instance_id is the pod's name",
		"config.state_dir=/data":                 "config.state_dir is the volume",
		"config.http.listen=:1":                  "set http.port",
		"config.kafka.brokers={kafka}":           "/config/kafka/brokers/0",
		"config.sharts=4":                        "additional properties 'sharts' not allowed",
		"config.shards=abc":                      "/config/shards",
		"config.kafka.tls.enabled=perhaps":       "/config/kafka/tls/enabled",
		"config.log.level=loud":                  "/config/log/level",
		"config.rules.access_denied.treshold=3":  "additional properties 'treshold' not allowed",
		"config.rules.acess_denied=false":        "additional properties 'acess_denied' not allowed",
		"config.events=none":                     "/config/events",
		"networkPolicy.stsCIDRs={sts.amazonaws}": "/networkPolicy/stsCIDRs/0",
		"config.kafka.sasl.password=hunter2":     "put it into a Secret",
		"secret.passwordKey=password":            "secret.existingSecret is missing",
		"replicas=3":                             "additional properties 'replicas' not allowed",
		"podDisruptionBudget.minAvailable=1":     "additional properties 'minAvailable' not allowed",
		"persistence.whenScaled=delete":          "/persistence/whenScaled",
		"serviceAccount.annotations.a.b.c=oops":  "/serviceAccount/annotations",
		"image.digest=sha256:0123":               "/image/digest",
		"networkPolicy.kafkaPorts={9092\\,9094}": "/networkPolicy/kafkaPorts/0",
	} {
		_, err := exec.Command(helm, "template", "r", packChart, "--kube-version", packKube, "--set", set).Output()
		if err == nil || !strings.Contains(packStderr(err), want) {
			t.Errorf("helm template --set %s: %v; want a failure that says %s", set, err, want)
		}
	}
}

// TestPackChartOptions renders the options that are off by default.
func TestPackChartOptions(t *testing.T) {
	helm := packHelm(t)
	objects := packRender(t, helm, "-f", packChart+"/ci/secured-values.yaml")
	packWant(t, "ServiceMonitor", objects["ServiceMonitor"], `"trailhound-detections"`, "spec", "endpoints", 0, "relabelings", 0, "replacement")
	groups := packYAML(t, packChart+"/files/rules.yml")["groups"]
	if got := packAt(objects["PrometheusRule"], "spec", "groups"); groups == nil || !reflect.DeepEqual(got, groups) {
		t.Errorf("the PrometheusRule has other groups than files/rules.yml:\n%v\nwant\n%v", got, groups)
	}
	env := map[string]any{}
	for _, v := range packAt(objects["StatefulSet"], "spec", "template", "spec", "containers", 0, "env").([]any) {
		env[packAt(v, "name").(string)] = packAt(v, "value")
	}
	packWant(t, "env", env, `"/etc/trailhound-secret/password"`, "TRAILHOUND_KAFKA_SASL_PASSWORD_FILE")
	small := packRender(t, helm, "-f", packChart+"/ci/small-values.yaml")
	for _, kind := range []string{"PodDisruptionBudget", "NetworkPolicy", "ServiceAccount", "ServiceMonitor", "PrometheusRule"} {
		if small[kind] != nil {
			t.Errorf("with small-values.yaml there is a %s; want none", kind)
		}
	}
	packWant(t, "StatefulSet", small["StatefulSet"], "null", "spec", "volumeClaimTemplates")
}

// TestPackChartRules: Helm reads no file outside of the chart, so the chart has a copy of the rules.
func TestPackChartRules(t *testing.T) {
	rules, copied := packRead(t, "prometheus/rules.yml"), packChart+"/files/rules.yml"
	if *packUpdate {
		if err := os.WriteFile(copied, []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if packRead(t, copied) != rules {
		t.Errorf("%s differs from prometheus/rules.yml; write it anew with go test ./deploy -run TestPackChartRules -update", copied)
	}
}

// TestPackChartConfigSchema: values below config are checked by the schema of the
// configuration file.
func TestPackChartConfigSchema(t *testing.T) {
	const file = packChart + "/values.schema.json"
	var config map[string]any
	if err := json.Unmarshal([]byte(packRead(t, "../config/schema.json")), &config); err != nil {
		t.Fatal(err)
	}
	delete(config, "$schema") // values.schema.json has its own; the words used are the same in both drafts
	definition, err := json.MarshalIndent(config, "    ", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text := packRead(t, file)
	const begin = "  \"definitions\": {\n    \"config\": "
	before, _, ok := strings.Cut(text, begin)
	if !ok {
		t.Fatalf("%s has no definition of config", file)
	}
	want := before + begin + string(definition) + "\n  }\n}\n"
	if *packUpdate {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if text != want {
		t.Errorf("%s has another schema of config than config/schema.json; write it anew with go test ./deploy -run TestPackChartConfigSchema -update", file)
	}
}

// TestPackChartNetwork: only the pods of its namespace reach the HTTP port by default, and
// a service that gives AWS credentials can be reached only where the values need one.
func TestPackChartNetwork(t *testing.T) {
	helm := packHelm(t)
	const (
		iam = "config.kafka.sasl.mechanism=aws-msk-iam,config.kafka.sasl.aws_region=eu-west-1,config.kafka.tls.enabled=true"
		arn = `serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn:aws:iam::111122223333:role/trailhound`

		sts      = `{"ports":[{"port":443,"protocol":"TCP"}],"to":[{"ipBlock":{"cidr":"0.0.0.0/0","except":["169.254.0.0/16"]}},{"ipBlock":{"cidr":"::/0","except":["fe80::/10","fd00:ec2::/32"]}}]}`
		endpoint = `{"ports":[{"port":443,"protocol":"TCP"}],"to":[{"ipBlock":{"cidr":"10.0.8.0/24"}}]}`
		// https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
		agent = `{"ports":[{"port":80,"protocol":"TCP"}],"to":[{"ipBlock":{"cidr":"169.254.170.23/32"}},{"ipBlock":{"cidr":"fd00:ec2::23/128"}}]}`
	)
	for _, c := range []struct{ set, from, more string }{
		{"replicaCount=1", `[{"podSelector":{}}]`, ""},
		{"networkPolicy.from[0].ipBlock.cidr=0.0.0.0/0", `[{"ipBlock":{"cidr":"0.0.0.0/0"}}]`, ""},
		{arn, `[{"podSelector":{}}]`, "," + sts},
		{arn + ",networkPolicy.stsCIDRs={10.0.8.0/24}", `[{"podSelector":{}}]`, "," + endpoint},
		{iam, `[{"podSelector":{}}]`, "," + agent},
		{iam + "," + arn, `[{"podSelector":{}}]`, "," + sts + "," + agent},
		{iam + ",serviceAccount.create=false,serviceAccount.name=made-elsewhere", `[{"podSelector":{}}]`, "," + sts + "," + agent},
		{"config.kafka.sasl.mechanism=scram-sha-512", `[{"podSelector":{}}]`, ""},
	} {
		policy := packRender(t, helm, "--set", c.set)["NetworkPolicy"]
		packWant(t, c.set, policy, c.from, "spec", "ingress", 0, "from")
		packWant(t, c.set, policy, `["Ingress","Egress"]`, "spec", "policyTypes")
		packWant(t, c.set, policy, `[{"ports":[{"port":53,"protocol":"UDP"},{"port":53,"protocol":"TCP"}]},{"ports":[{"port":9092,"protocol":"TCP"}]}`+c.more+`]`, "spec", "egress")
	}
}

// TestPackChartSchema: the values fit their schema, and each has a place in it.
func TestPackChartSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(packChart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range packValues(t) {
		file = cmp.Or(file, packChart+"/values.yaml")
		data, err := json.Marshal(packYAML(t, file))
		if err != nil {
			t.Fatal(err)
		}
		values, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(values); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	properties, _ := packAt(packYAML(t, packChart+"/values.schema.json"), "properties").(map[string]any)
	values := packYAML(t, packChart+"/values.yaml")
	for key := range properties {
		if _, ok := values[key]; !ok && key != "global" { // which Helm hands to every chart
			t.Errorf("values.schema.json has %s, which values.yaml has not", key)
		}
	}
}

// TestPackChartReference keeps the table of values in the chart's README.
func TestPackChartReference(t *testing.T) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(packRead(t, packChart+"/values.yaml")), &doc); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| key | default | meaning |\n|---|---|---|\n")
	packRows(t, &table, "", doc.Content[0])
	const begin, end = "<!-- values -->\n", "<!-- /values -->"
	readme := packChart + "/README.md"
	text := packRead(t, readme)
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %s and %s", readme, begin, end)
	}
	want := before + begin + table.String() + end + after
	if *packUpdate {
		if err := os.WriteFile(readme, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if text != want {
		t.Errorf("the table in %s differs from values.yaml; write it anew with go test ./deploy -run TestPackChartReference -update", readme)
	}
}

// packRows writes a row for each value below a mapping. A section with keys of the user's
// own is one value.
func packRows(t *testing.T, table *strings.Builder, path string, mapping *yaml.Node) {
	t.Helper()
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := path + key.Value
		meaning := strings.ReplaceAll(strings.ReplaceAll("\n"+key.HeadComment, "\n# ", " "), "\n", " ")
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && meaning == " " {
			packRows(t, table, name+".", value)
			continue
		}
		if meaning = strings.TrimSpace(meaning); meaning == "" {
			t.Errorf("values.yaml: nothing says what %s is", name)
		}
		var plain any
		if err := value.Decode(&plain); err != nil {
			t.Fatal(err)
		}
		shown, err := json.Marshal(plain)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(table, "| `%s` | `%s` | %s |\n", name, shown, strings.ReplaceAll(meaning, "|", "\\|"))
	}
}
