-- Reads texts (separated by \1, from the file IN) as pandoc's Markdown, and writes of each what
-- of it could act: (items separated by \2).

local function attributes(attr)
  local found = attr.identifier
  for _, class in ipairs(attr.classes) do found = found .. " ." .. class end
  for key, value in pairs(attr.attributes) do found = found .. " " .. key .. "=" .. value end
  return found
end

local function look(text, format)
  local found = {}
  local function add(kind, what) found[#found + 1] = kind .. " " .. what end
  local read, doc = pcall(pandoc.read, text, format)
  if not read then return "error " .. tostring(doc) end
  for key in pairs(doc.meta) do add("metadata", key) end
  local function named(kind) return function() add("construct", kind) end end
  local function link(each)
    add("link", each.target)
    local extra = attributes(each.attr)
    if extra ~= "" and extra ~= " .uri" and extra ~= " .email" then add("attributes", extra) end
  end
  doc:walk({
    RawBlock = function(each) add("raw", each.format .. ":" .. each.text) end,
    RawInline = function(each) add("raw", each.format .. ":" .. each.text) end,
    Math = function(each) add("formula", each.text) end,
    Link = link,
    Image = function(each) add("picture", each.src) end,
    Div = function(each)
      if attributes(each.attr) ~= "" then add("attributes", attributes(each.attr)) end
    end,
    Span = function(each)
      if attributes(each.attr) ~= "" then add("attributes", attributes(each.attr)) end
    end,
    Code = function(each)
      if attributes(each.attr) ~= "" then add("attributes", attributes(each.attr)) end
    end,
    CodeBlock = function(each)
      local extra = attributes(each.attr)
      if not extra:match("^ ?%.?[%w][%w_+#.-]*$") and extra ~= "" then add("attributes", extra) end
    end,
    Header = function(each)
      if #each.classes > 0 or #each.attributes > 0 then add("attributes", attributes(each.attr)) end
    end,
    Cite = named("citation"), Note = named("footnote"), Superscript = named("superscript"),
    Subscript = named("subscript"), DefinitionList = named("definitions"),
    LineBlock = named("lines"), Underline = named("underline"), SmallCaps = named("small caps"),
  })
  -- Code may say anything, and links, formulas and TeX are written with backticks: what its
  -- writer makes of the rest is looked at without them.
  doc = doc:walk({
    CodeBlock = function(each) return pandoc.CodeBlock("x", each.attr) end,
    Code = function() return pandoc.Str("x") end,
    Link = function() return pandoc.Str("x") end,
    Math = function() return pandoc.Str("x") end,
    RawBlock = function(each) return each.format == "tex" and pandoc.Para("x") or nil end,
    RawInline = function(each) return each.format == "tex" and pandoc.Str("x") or nil end,
  })
  add("rst", pandoc.write(doc, "rst"))
  return table.concat(found, "\2")
end

local file = io.open(os.getenv("IN"), "rb")
local texts = file:read("a")
file:close()
local out = {}
for text in (texts .. "\1"):gmatch("(.-)\1") do out[#out + 1] = look(text, os.getenv("FORMAT")) end
io.stdout:write(table.concat(out, "\1"))
os.exit(0)
