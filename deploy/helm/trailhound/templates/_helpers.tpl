{{- define "trailhound.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Names of pods are this and a number, and a label has 63 characters: so 52, as StatefulSets want it. */}}
{{- define "trailhound.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "trailhound.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "trailhound.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "trailhound.selector" -}}
app.kubernetes.io/name: {{ include "trailhound.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "trailhound.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "trailhound.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "trailhound.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "trailhound.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "trailhound.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The configuration file. What the chart sets itself is refused here: a variable would win over it in silence. */}}
{{- define "trailhound.config" -}}
{{- $http := .Values.config.http | default dict -}}
{{- if hasKey .Values.config "instance_id" -}}
{{- fail "config.instance_id is the pod's name: leave it out" -}}
{{- else if hasKey .Values.config "state_dir" -}}
{{- fail "config.state_dir is the volume: leave it out, and set persistence.size" -}}
{{- else if hasKey $http "listen" -}}
{{- fail "config.http.listen is set by the chart, for the probes: leave it out, and set http.port" -}}
{{- else if dig "kafka" "sasl" "password" "" .Values.config -}}
{{- fail "config.kafka.sasl.password would stand in a ConfigMap for all to read: put it into a Secret, and name that in secret.existingSecret and secret.passwordKey" -}}
{{- else if and (not .Values.secret.existingSecret) (without (values .Values.secret) "" nil) -}}
{{- fail "secret.existingSecret is missing: name the Secret that the keys in secret are of" -}}
{{- else if not (dig "kafka" "brokers" (list) .Values.config) -}}
{{- fail "config.kafka.brokers is missing: name the brokers, [host:port]" -}}
{{- end -}}
{{- toYaml .Values.config -}}
{{- end -}}

{{/* Ports of kafka.brokers and networkPolicy.kafkaPorts, once each, as a JSON list. */}}
{{- define "trailhound.kafkaPorts" -}}
{{- $ports := list -}}
{{- range .Values.config.kafka.brokers -}}
{{- $ports = append $ports (regexFind "[0-9]+$" . | int) -}}
{{- end -}}
{{- range .Values.networkPolicy.kafkaPorts -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* The job of all instances of an app_id, as deploy/prometheus/rules.yml wants it. */}}
{{- define "trailhound.job" -}}
{{- $app := .Values.config.app_id | default "trailhound" -}}
{{- if hasPrefix "trailhound" $app -}}{{- $app -}}{{- else -}}{{- printf "trailhound-%s" $app -}}{{- end -}}
{{- end -}}

{{/* Not empty if the brokers are told who it is by AWS IAM. */}}
{{- define "trailhound.iam" -}}
{{- if eq "aws-msk-iam" (dig "kafka" "sasl" "mechanism" "" .Values.config | toString) }}yes{{ end -}}
{{- end -}}

{{/* Not empty if credentials come from AWS STS: by a role in an annotation, or perhaps by one of a ServiceAccount that is
not made here. */}}
{{- define "trailhound.asksSTS" -}}
{{- if or (hasKey .Values.serviceAccount.annotations "eks.amazonaws.com/role-arn") (and (include "trailhound.iam" .) (not .Values.serviceAccount.create)) }}yes{{ end -}}
{{- end -}}
